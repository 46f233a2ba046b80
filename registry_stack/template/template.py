"""A Heat Orchestration Template, loaded and not yet evaluated."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from registry_stack.errors import RegistryStackError
from registry_stack.template.yaml_loader import load_yaml

_VERSION = "2018-08-31"
_SECTIONS = frozenset(
    {
        *("heat_template_version", "description", "parameters", "parameter_groups"),
        *("conditions", "resources", "outputs"),
    }
)
_TYPES = frozenset({"string", "number", "boolean", "comma_delimited_list"})
_CONSTRAINTS = ("range", "length", "allowed_values", "allowed_pattern", "custom_constraint")


@dataclass(frozen=True)
class Constraint:
    """One entry of a parameter's `constraints`: its kind, its definition and the author's words."""

    kind: str
    definition: Any
    description: str | None = None


@dataclass(frozen=True)
class Parameter:
    """One parameter of the template."""

    name: str
    type: str
    default: Any = None
    description: str = ""
    label: str = ""
    hidden: bool = False
    constraints: tuple[Constraint, ...] = ()

    @property
    def required(self) -> bool:
        """Whether the user must give a value: it has no default (as in Heat, a null default is none)."""
        return self.default is None


@dataclass(frozen=True)
class Group:
    """One entry of `parameter_groups`."""

    label: str
    description: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """A loaded template; the sections are plain YAML."""

    path: Path
    parameters: dict[str, Parameter]
    groups: tuple[Group, ...] = ()
    conditions: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def resources_of(self, resource_type: str) -> dict[str, dict[str, Any]]:
        return {name: body for name, body in self.resources.items() if body.get("type") == resource_type}


@cache
def load_template(path: Path) -> Template:
    """Read a template, once, and check its shape.

    Raises RegistryStackError naming file and place: not found, not YAML, a duplicate key, an unknown section, another
    version of HOT, or a malformed parameter.
    """
    document = load_yaml(path, "template")
    if not isinstance(document, dict):
        raise RegistryStackError(f"{path}: a template is a mapping, this is a {type(document).__name__}")
    for section in document:
        if section not in _SECTIONS:
            raise RegistryStackError(f'{path}: unknown section "{section}"')
    if str(document.get("heat_template_version")) != _VERSION:
        raise RegistryStackError(f"{path}: heat_template_version must be {_VERSION}")
    sections = {name: _section(path, document, name) for name in ("conditions", "resources", "outputs")}
    _check_bodies(path, sections)
    return Template(
        path=path,
        parameters={
            name: _parameter(path, name, body) for name, body in _section(path, document, "parameters").items()
        },
        groups=tuple(_group(path, body) for body in document.get("parameter_groups") or []),
        **sections,
    )


def _section(path: Path, document: dict[str, Any], name: str) -> dict[str, Any]:
    section = document.get(name) or {}
    if not isinstance(section, dict):
        raise RegistryStackError(f'{path}: "{name}" must be a mapping')
    return section


def _check_bodies(path: Path, sections: dict[str, dict[str, Any]]) -> None:
    for section, key in (("resources", "type"), ("outputs", "value")):
        for name, body in sections[section].items():
            if not isinstance(body, dict) or key not in body:
                raise RegistryStackError(f'{path}: {section}.{name} must be a mapping with "{key}"')


def _parameter(path: Path, name: str, body: Any) -> Parameter:
    where = f"{path}: parameters.{name}"
    if not isinstance(body, dict) or body.get("type") not in _TYPES:
        raise RegistryStackError(f'{where} must be a mapping with a "type" out of {", ".join(sorted(_TYPES))}')
    return Parameter(
        name=name,
        type=body["type"],
        default=body.get("default"),
        description=body.get("description", ""),
        label=body.get("label", ""),
        hidden=bool(body.get("hidden", False)),
        constraints=tuple(_constraint(where, entry) for entry in body.get("constraints") or []),
    )


def _constraint(where: str, entry: Any) -> Constraint:
    for kind in _CONSTRAINTS:
        if isinstance(entry, dict) and kind in entry:
            return Constraint(kind, entry[kind], entry.get("description"))
    raise RegistryStackError(f"{where}: a constraint must be one of {', '.join(_CONSTRAINTS)}")


def _group(path: Path, body: Any) -> Group:
    if not isinstance(body, dict) or not isinstance(body.get("parameters"), list):
        raise RegistryStackError(f'{path}: every entry of "parameter_groups" needs a list "parameters"')
    return Group(body.get("label", ""), body.get("description", ""), tuple(body["parameters"]))
