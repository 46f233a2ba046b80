"""The rules the Heat template must keep, each a function that returns its violations: none is a pass."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from registry_stack.errors import RegistryStackError
from registry_stack.template.environment import Environment
from registry_stack.template.functions import References
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import Template
from registry_stack.userdata.build import longest
from registry_stack.userdata.host_files import host_files
from registry_stack.userdata.render import placeholders, render_user_data, source_text

_SECRET = re.compile(r"password|passphrase|secret|token|credential|(?<!^server)_key$")
# Heat lets an empty name pass for these only (heat/engine/clients/os/nova.py, KeypairConstraint).
_MAY_BE_EMPTY = frozenset({"nova.keypair"})
_LOCAL_CONSTRAINTS = frozenset({"net_cidr"})


def placeholders_filled(template: Template, rendered: str) -> list[str]:
    """Nothing that the source calls a placeholder is left in the rendered text."""
    left = placeholders(source_text(template, {"settings_transport": "user_data"})) & placeholders(rendered)
    return [f"{name} survives" for name in sorted(left)]


def parameters_described(template: Template) -> list[str]:
    """Every parameter has a description."""
    return [f"{name} has no description" for name, item in template.parameters.items() if not item.description]


def parameters_constrained(template: Template) -> list[str]:
    """Every parameter says what it takes; of a boolean the type says it."""
    return [
        f"{name} has no constraint"
        for name, item in template.parameters.items()
        if item.type != "boolean" and not item.constraints
    ]


def outputs_described(template: Template) -> list[str]:
    """Every output has a description."""
    return [
        f"output {name} has no description" for name, body in template.outputs.items() if not body.get("description")
    ]


def parameters_grouped(template: Template) -> list[str]:
    """Every parameter is in exactly one parameter group, and every group has a label."""
    grouped = [name for group in template.groups for name in group.parameters]
    violations = [
        f"{name} is in {grouped.count(name)} groups" for name in template.parameters if grouped.count(name) != 1
    ]
    violations += [f"group has unknown {name}" for name in grouped if name not in template.parameters]
    return violations + ["a group has no label" for group in template.groups if not group.label]


def secrets_hidden(template: Template) -> list[str]:
    """Every parameter whose name says secret is `hidden`."""
    return [f"{n} is not hidden" for n, item in template.parameters.items() if _SECRET.search(n) and not item.hidden]


def defaults_valid(template: Template) -> list[str]:
    """Every default satisfies its own constraints, also those that Heat asks a cloud about.

    Heat validates a default like a given value: an empty one fails `neutron.network` and the like.
    """
    violations = []
    for parameter in template.parameters.values():
        try:
            if not parameter.required:
                resolve_parameters(replace(template, parameters={parameter.name: parameter}), Environment({}, {}))
        except RegistryStackError as error:
            violations.append(str(error))
        custom = {c.definition for c in parameter.constraints if c.kind == "custom_constraint"}
        if parameter.default == "" and custom - _MAY_BE_EMPTY - _LOCAL_CONSTRAINTS:
            violations.append(f"{parameter.name}: the empty default fails {', '.join(sorted(custom))}")
    return violations


def required_are(template: Template, names: Iterable[str]) -> list[str]:
    """Exactly these parameters have no default."""
    required = {name for name, item in template.parameters.items() if item.required}
    return [f"{name} should not be required" for name in sorted(required - set(names))] + [
        f"{name} should be required" for name in sorted(set(names) - required)
    ]


def user_data_raw(template: Template) -> list[str]:
    """Without `user_data_format: RAW` Heat wraps the text in a multipart message no CoreOS loader reads."""
    servers = template.resources_of("OS::Nova::Server")
    formats = {name: body.get("properties", {}).get("user_data_format") for name, body in servers.items()}
    return [f"{name}: user_data_format is {given}, not RAW" for name, given in formats.items() if given != "RAW"]


def names_unique(template: Template) -> list[str]:
    """No resource is named like a parameter: Heat refuses the stack ("Duplicate names")."""
    both = sorted(template.parameters.keys() & template.resources.keys())
    return [f"{name} is both a parameter and a resource" for name in both]


def free_text_bounded(template: Template) -> list[str]:
    """Every text parameter has a longest value, so that the longest user-data is known.

    Names that the cloud itself checks need none: they are as long as the cloud lets them be.
    """
    violations = []
    for name, parameter in template.parameters.items():
        kinds = {constraint.kind for constraint in parameter.constraints}
        free = parameter.type == "string" and not kinds & {"allowed_values", "custom_constraint"}
        if free and longest(parameter) is None:
            violations.append(f"{name} has no length constraint with a max")
    return violations


def renders(template: Template, values: Mapping[str, Any], references: References) -> list[str]:
    """These values give a user-data that a loader can read and Nova takes."""
    try:
        host_files(render_user_data(template, values, references))
    except RegistryStackError as error:
        return [str(error)]
    return []


# What every template must keep to.
RULES: tuple[Callable[[Template], list[str]], ...] = (
    parameters_described,
    parameters_constrained,
    outputs_described,
    parameters_grouped,
    secrets_hidden,
    defaults_valid,
    names_unique,
    user_data_raw,
    free_text_bounded,
)
