"""Evaluates HOT functions and conditions as Heat does (heat/engine/hot/functions.py, openstack-heat 27)."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry_stack.errors import RegistryStackError
from registry_stack.template.string_functions import Replace, list_join, str_split
from registry_stack.template.template import Template
from registry_stack.template.yaml_loader import read_text

# ("floating_ip", "floating_ip_address") -> what get_attr gives; ("server",) -> what get_resource gives.
References = Mapping[tuple[str, ...], Any]

# Everything else HOT 2018-08-31 .. 2021-04-16 calls a function: met in a template it is an error, not data.
UNSUPPORTED = frozenset(
    (
        *("repeat", "resource_facade", "digest", "map_merge", "yaql", "map_replace", "filter", "make_url"),
        *("list_concat", "list_concat_unique", "Ref", "Fn::Select", "Fn::GetAZs", "Fn::Join", "Fn::Split"),
        *("Fn::Replace", "Fn::Base64", "Fn::MemberListToMap", "Fn::ResourceFacade"),
    )
)

_TEXT: dict[str, Callable[[Any], Any]] = {
    "str_replace": Replace("str_replace"),
    "str_replace_strict": Replace("str_replace_strict", strict=True),
    "str_replace_vstrict": Replace("str_replace_vstrict", strict=True, allow_empty=False),
    "list_join": list_join,
    "str_split": str_split,
}
_LOOKUPS = frozenset({"get_param", "get_attr", "get_resource", "get_file", "if", "contains"})
_CONDITIONS = frozenset({"get_param", "equals", "not", "and", "or", "contains"})
SUPPORTED = _LOOKUPS | _TEXT.keys()
SUPPORTED_IN_CONDITIONS = _CONDITIONS


class UnknownReferenceError(RegistryStackError):
    """The template refers to a resource or attribute nobody gave a value for."""


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
        """The snippet with every function resolved.

        Raises RegistryStackError naming the template and the place below `where`; UnknownReferenceError for a
        resource or attribute that is not in `references`.
        """
        value = self._walk(snippet, where)
        return None if value is ... else value

    def condition(self, condition: Any, where: str) -> bool:
        """A condition given by name, as a boolean or as a function, resolved."""
        value = self._walk(condition, where, in_condition=True)
        if value is None or isinstance(value, bool):
            return value is not False  # Heat: no condition is a true one
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
        value = self._walk(self.template.conditions[name], where, in_condition=True)
        if not isinstance(value, bool):
            raise self._error(where, f"must be true or false, not a {type(value).__name__}")
        self._conditions[name] = value
        return value

    def _walk(self, snippet: Any, where: str, in_condition: bool = False) -> Any:
        """Resolve; `...` stands for "as if it were not there" (an `if` without an else)."""
        if isinstance(snippet, Mapping):
            name = next(iter(snippet)) if len(snippet) == 1 else None
            if isinstance(name, str) and self._is_function(name, in_condition):
                return self._call(name, snippet[name], f"{where}.{name}", in_condition)
            pairs = ((k, self._walk(v, f"{where}.{k}", in_condition)) for k, v in snippet.items())
            return {key: value for key, value in pairs if value is not ...}
        if isinstance(snippet, list):
            items = (self._walk(v, f"{where}[{i}]", in_condition) for i, v in enumerate(snippet))
            return [item for item in items if item is not ...]
        return snippet

    def _is_function(self, name: str, in_condition: bool) -> bool:
        return name in SUPPORTED or name in UNSUPPORTED or (in_condition and name in _CONDITIONS)

    def _call(self, name: str, args: Any, where: str, in_condition: bool) -> Any:
        if in_condition and name not in _CONDITIONS:
            raise self._error(where, "this function cannot be used in a condition")
        if name in UNSUPPORTED:
            known = ", ".join(sorted(SUPPORTED))
            raise self._error(where, f"this function is not supported here; supported: {known}")
        # `if` looks at the branch it takes only; get_file's name is read by the client, so it is literal.
        if name == "if":
            return self._if(args, where)
        try:
            return self._function(name)(args if name == "get_file" else self._walk(args, where, in_condition))
        except ValueError as error:
            raise self._error(where, str(error)) from None

    def _function(self, name: str) -> Callable[[Any], Any]:
        own: dict[str, Callable[[Any], Any]] = {
            "get_param": self._get_param,
            "get_attr": self._get_attr,
            "get_resource": self._get_resource,
            "get_file": self._get_file,
            "contains": _contains,
            "equals": _equals,
            "not": self._not,
            "and": functools.partial(self._all_or_any, all),
            "or": functools.partial(self._all_or_any, any),
        }
        return own[name] if name in own else _TEXT[name]

    def _error(self, where: str, message: str) -> RegistryStackError:
        return RegistryStackError(f"{self.template.path}: {where}: {message}")

    def _if(self, args: Any, where: str) -> Any:
        lengths = (2, 3) if self.template.nullable_if else (3,)
        if not isinstance(args, list) or len(args) not in lengths:
            raise self._error(where, "needs [condition, value if true, value if false]")
        if self.condition(args[0], f"{where}[0]"):
            return self._walk(args[1], f"{where}[1]")
        return self._walk(args[2], f"{where}[2]") if len(args) == 3 else ...

    def _get_param(self, args: Any) -> Any:
        name, *path = args if isinstance(args, list) and args else [args]
        if not isinstance(name, str) or not name:
            raise ValueError("needs a parameter's name")
        if name not in self.values:
            raise ValueError(f'unknown parameter "{name}"')
        value = _select(self.values[name], path, numeric_text=True)
        return "" if path and value is None else value

    def _get_attr(self, args: Any) -> Any:
        if not isinstance(args, list) or len(args) < 2:
            raise ValueError("needs [resource, attribute, ...]")
        resource, attribute, *path = args
        if (resource, attribute) not in self.references:
            what = f'attribute "{attribute}" of resource "{resource}"'
            raise UnknownReferenceError(self._unknown(what, resource))
        return _select(self.references[resource, attribute], path)

    def _get_resource(self, args: Any) -> Any:
        if (args,) not in self.references:
            raise UnknownReferenceError(self._unknown(f'resource "{args}"', args))
        return self.references[args,]

    def _unknown(self, what: str, resource: Any) -> str:
        if resource not in self.template.resources:
            return f'{self.template.path}: {what} is used, but no resource "{resource}" is in the template'
        return f"{self.template.path}: {what} has no value here"

    def _get_file(self, args: Any) -> str:
        if not isinstance(args, str):
            raise ValueError("needs a literal file name, relative to the template")
        return read_text(self.template.path.parent / args, "file named by get_file:")

    def _not(self, args: Any) -> bool:
        if args is None:
            raise ValueError("needs a condition")
        return not self.condition(args, "not")

    def _all_or_any(self, combine: Callable[[list[bool]], bool], args: Any) -> bool:
        if not isinstance(args, list) or len(args) < 2:
            raise ValueError("needs a list of at least two conditions")
        return combine([self.condition(arg, f"[{number}]") for number, arg in enumerate(args)])


def _equals(args: Any) -> bool:
    if not isinstance(args, list) or len(args) != 2:
        raise ValueError("needs [value, value]")
    return bool(args[0] == args[1])


def _contains(args: Any) -> bool:
    if not isinstance(args, list) or len(args) != 2 or not isinstance(args[1], Sequence):
        raise ValueError("needs [value, list]")
    return args[0] in args[1]


def _select(value: Any, path: list[Any], numeric_text: bool = False) -> Any:
    """Follow a path into maps and lists; None when it leads nowhere, as Heat gives it."""
    try:
        for key in path:
            if numeric_text and isinstance(value, Sequence) and isinstance(key, str):
                key = int(key)
            value = value[key]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return value
