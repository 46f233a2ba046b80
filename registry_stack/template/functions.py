"""Evaluates the HOT functions and conditions that heat/registry.yaml uses, as Heat does (heat/engine/hot/functions.py).

A function of HOT that is missing here is an error, never taken for data. The unit tests compare the results with Heat's
own engine, and fail when a function is here that the template no longer uses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry_stack.errors import RegistryStackError
from registry_stack.template.string_functions import list_join, str_replace, str_replace_strict
from registry_stack.template.template import Template
from registry_stack.template.yaml_loader import read_text

# ("floating_ip", "floating_ip_address") -> what get_attr gives, with more names a part of it; ("server",) -> what
# get_resource gives.
References = Mapping[tuple[str, ...], Any]

_TEXT: dict[str, Callable[[Any], Any]] = {
    "str_replace": str_replace,
    "str_replace_strict": str_replace_strict,
    "list_join": list_join,
}
SUPPORTED = frozenset({"get_param", "get_attr", "get_resource", "get_file", "if", *_TEXT})
SUPPORTED_IN_CONDITIONS = frozenset({"get_param", "equals", "not", "and"})
# Everything else that HOT 2018-08-31 calls a function.
UNSUPPORTED = frozenset(
    (
        *("contains", "digest", "filter", "list_concat", "list_concat_unique", "make_url", "map_merge", "map_replace"),
        *("repeat", "resource_facade", "str_replace_vstrict", "str_split", "yaql"),
        *("Ref", "Fn::Select", "Fn::GetAZs", "Fn::Join", "Fn::Split", "Fn::Replace", "Fn::Base64"),
        *("Fn::MemberListToMap", "Fn::ResourceFacade"),
    )
)
UNSUPPORTED_IN_CONDITIONS = frozenset({"contains", "or", "yaql"})


@dataclass
class Scope:
    """What a template's functions see: its parameters' values, the resources' references, its conditions.

    `values` holds the resolved parameters and the pseudo parameters (`OS::stack_name`, `OS::project_id`, …).
    """

    template: Template
    values: Mapping[str, Any]
    references: References
    _conditions: dict[str, bool | None] = field(default_factory=dict)

    def evaluate(self, snippet: Any, where: str) -> Any:
        """The snippet with every function resolved; raises RegistryStackError naming the place below `where`."""
        if isinstance(snippet, Mapping):
            name = next(iter(snippet)) if len(snippet) == 1 else None
            if name == "if":
                return self._if(snippet, where)
            if name in SUPPORTED:
                return self._call(name, snippet[name], f"{where}.{name}")
            if name in UNSUPPORTED:
                raise self._unsupported(f"{where}.{name}", SUPPORTED)
            return {key: self.evaluate(value, f"{where}.{key}") for key, value in snippet.items()}
        if isinstance(snippet, list):
            return [self.evaluate(value, f"{where}[{number}]") for number, value in enumerate(snippet)]
        return snippet

    def condition(self, condition: Any, where: str) -> bool:
        """A condition given by name, as a boolean or as a function, resolved."""
        value = self._condition_value(condition, where)
        if value is None or isinstance(value, bool):
            return value is not False  # in Heat, no condition is a true one
        if not isinstance(value, str) or value not in self.template.conditions:
            raise self._error(where, f'invalid condition "{value}"')
        return self._named(value)

    def _named(self, name: str) -> bool:
        where = f"conditions.{name}"
        if name in self._conditions:
            known = self._conditions[name]
            if known is None:
                raise self._error(where, "the definition is circular")
            return known
        self._conditions[name] = None
        value = self._condition_value(self.template.conditions[name], where)
        if not isinstance(value, bool):
            raise self._error(where, f"must be true or false, not a {type(value).__name__}")
        self._conditions[name] = value
        return value

    def _condition_value(self, snippet: Any, where: str) -> Any:
        if not isinstance(snippet, Mapping) or len(snippet) != 1:
            return snippet
        (name, args) = next(iter(snippet.items()))
        where = f"{where}.{name}"
        if name in SUPPORTED | UNSUPPORTED | UNSUPPORTED_IN_CONDITIONS and name not in SUPPORTED_IN_CONDITIONS:
            raise self._unsupported(where, SUPPORTED_IN_CONDITIONS)
        match name, args:
            case "get_param", _:
                return self._call(name, args, where)
            case "equals", [one, other]:
                return bool(self._condition_value(one, f"{where}[0]") == self._condition_value(other, f"{where}[1]"))
            case "equals", _:
                raise self._error(where, "needs [value, value]")
            case "not", _ if args is not None:
                return not self.condition(args, where)
            case "and", [_, _, *_]:
                values = [self.condition(item, f"{where}[{number}]") for number, item in enumerate(args)]
                return all(values)
            case (("not" | "and"), _):
                raise self._error(where, "needs a condition" if name == "not" else "needs two conditions or more")
        return snippet

    def _call(self, name: str, args: Any, where: str) -> Any:
        own = {
            "get_param": self._get_param,
            "get_attr": self._get_attr,
            "get_resource": self._get_resource,
            "get_file": self._get_file,
        }
        try:
            return own[name](args) if name in own else _TEXT[name](self.evaluate(args, where))
        except ValueError as error:
            raise self._error(where, str(error)) from None

    def branch(self, snippet: Any, where: str) -> tuple[str, Any]:
        """Where the branch is that an `if` takes, and the branch, not yet evaluated; anything else as it is."""
        while isinstance(snippet, Mapping) and list(snippet) == ["if"]:
            args, where = snippet["if"], f"{where}.if"
            if not isinstance(args, list) or len(args) != 3:
                raise self._error(where, "needs [condition, value if true, value if false]")
            number = 1 if self.condition(args[0], f"{where}[0]") else 2
            snippet, where = args[number], f"{where}[{number}]"
        return where, snippet

    def _if(self, snippet: Any, where: str) -> Any:
        """Only the branch that is taken is evaluated."""
        where, taken = self.branch(snippet, where)
        return self.evaluate(taken, where)

    def _get_param(self, name: Any) -> Any:
        if not isinstance(name, str) or not name:
            raise ValueError("needs a parameter's name")
        if name not in self.values:
            raise ValueError(f'unknown parameter "{name}"')
        return self.values[name]

    def _get_attr(self, args: Any) -> Any:
        match args:
            case [str(resource), str(attribute), *path]:
                return self._reference(
                    (resource, attribute, *path), f'attribute "{attribute}" of resource "{resource}"'
                )
        raise ValueError("needs [resource, attribute]")

    def _get_resource(self, name: Any) -> Any:
        return self._reference((name,), f'resource "{name}"')

    def _reference(self, key: tuple[str, ...], what: str) -> Any:
        if key in self.references:
            return self.references[key]
        if key[0] not in self.template.resources:
            raise ValueError(f'{what} is used, but the template has no resource "{key[0]}"')
        raise ValueError(f"{what} has no value here")

    def _get_file(self, name: Any) -> str:
        if not isinstance(name, str):
            raise ValueError("needs a literal file name, relative to the template")
        return read_text(self.template.path.parent / name, "file named by get_file:")

    def _unsupported(self, where: str, supported: frozenset[str]) -> RegistryStackError:
        return self._error(where, f"this function is not supported here; supported: {', '.join(sorted(supported))}")

    def _error(self, where: str, message: str) -> RegistryStackError:
        return RegistryStackError(f"{self.template.path}: {where}: {message}")
