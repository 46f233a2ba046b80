"""docs/parameters.md: the parameters of the template as a page for people.

python -m registry_stack.template.document > docs/parameters.md
"""

from typing import Any

from registry_stack.product import GROUP_TEMPLATE, TEMPLATE
from registry_stack.template.template import Constraint, Group, Parameter, Template, load_template

_HEAD = """# Parameters

Generated from `heat/registry.yaml` by `python -m registry_stack.template.document`: change the template, not this page.

Put them into an environment file (`-e env.yaml`, as [heat/env.example.yaml](../heat/env.example.yaml)), or give single
ones with `--parameter name=value`, which `registry-stack deploy` also calls `-P`. Values marked *hidden* are masked in
Heat's output, but not on the server.

Sizes in GB count 10⁹ bytes, sizes in GiB 2³⁰.
"""
# The names carry the units, but for Cinder's sizes, which are GiB.
_UNITS = {"_seconds": "seconds", "_gb": "GB", "_percent": "%", "_volume_size": "GiB"}
_CUSTOM = {
    "nova.keypair": "an existing Nova key pair",
    "nova.flavor": "an existing Nova flavor",
    "glance.image": "an existing Glance image",
    "neutron.network": "an existing Neutron network",
    "net_cidr": "a network in CIDR form",
}
_COLUMNS = ("parameter", "default", "unit", "meaning", "limits")


_GROUP = """Of `heat/registry-group.yaml` only. All others but those of the section Group mean the same there, with
these exceptions: `hostname` is the name that the servers share, at most 61 characters; `dns_zone` gives that name
every server's address, and adds a name for each server; `server_certificate` must contain all these names;
`ca_certificate` is required; `storage_driver` is swift or s3; `settings_transport` is heat."""


def parameters_page(template: Template, group: Template) -> str:
    """Every parameter in a table per group, in Markdown; then those that only a group of hosts has."""
    more = {name: parameter for name, parameter in group.parameters.items() if name not in template.parameters}
    own = Group("A group of servers", _GROUP, tuple(more))
    return "\n".join([_HEAD, *(_section(template, one) for one in template.groups), _section(group, own)])


def _section(template: Template, group: Group) -> str:
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_row(template.parameters[name]) for name in group.parameters)]
    introduction = f"{group.description}\n\n" if group.description else ""
    return f"## {group.label}\n{introduction}" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(parameter: Parameter) -> tuple[str, ...]:
    unit = next((unit for suffix, unit in _UNITS.items() if parameter.name.endswith(suffix)), "")
    meaning = " ".join(parameter.description.split()) + (" *Hidden.*" if parameter.hidden else "")
    limits = "; ".join(_limit(parameter, constraint) for constraint in parameter.constraints)
    return f"`{parameter.name}`", _default(parameter), unit, _cell(meaning), _cell(limits)


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "**required**"
    if parameter.default == "":
        return "empty"
    value = str(parameter.default)
    return f"`{value.lower() if parameter.type == 'boolean' else value}`"


def _limit(parameter: Parameter, constraint: Constraint) -> str:
    """In the words of the template's author where they are given."""
    if constraint.description:
        return constraint.description.removeprefix("must be ").removeprefix("must consist of ")
    if constraint.kind in ("range", "length"):
        counted = "entries" if parameter.type == "comma_delimited_list" else "characters"
        return _bounds(constraint.definition) + (f" {counted}" if constraint.kind == "length" else "")
    if constraint.kind == "allowed_values":
        return "one of " + ", ".join(f"`{value}`" for value in constraint.definition)
    return _CUSTOM.get(constraint.definition, f"{constraint.kind} `{constraint.definition}`")


def _bounds(definition: dict[str, Any]) -> str:
    lowest, highest = definition.get("min"), definition.get("max")
    if lowest is None:
        return f"at most {highest}"
    return f"at least {lowest}" if highest is None else f"{lowest} to {highest}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(parameters_page(load_template(TEMPLATE), load_template(GROUP_TEMPLATE)), end="")
