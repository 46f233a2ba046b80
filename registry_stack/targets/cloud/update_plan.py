"""What an update would do to the server, found out before it is started.

Heat's own preview (heat/engine/update.py) resolves references in a stack without resources, so it announces the
replacement of everything that refers to another resource.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from registry_stack.targets.cloud.fingerprint import fingerprint
from registry_stack.template.template import Template
from registry_stack.userdata.render import source_text

SERVER = "server"
# The properties whose change replaces a resource, of the resources that a server's user-data refers to: update_allowed
# is False in properties_schema of heat/engine/resources/openstack; user_data and image have a policy of their own.
_REPLACED_FOR = {
    "OS::Nova::Server": ("user_data", "image", "key_name", "user_data_format"),
    "OS::Neutron::FloatingIP": ("floating_network",),
}


def server_parameters(template: Template) -> set[str]:
    """The parameters whose change replaces the server."""
    return set(_parameters(template, list(_snippets(template, SERVER).values())))


def server_tag(template: Template, values: Mapping[str, Any], stack: str) -> str:
    """A tag that changes with anything that replaces the server."""
    own = {name: values[name] for name in server_parameters(template) & values.keys()}
    inputs = [_snippets(template, SERVER), template.conditions, source_text(template), own]
    return fingerprint(SERVER, inputs, stack)


def changed_parameters(template: Template, there: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    """Each changed parameter that Heat shows, as `old -> new`. Heat does not show secrets."""
    return {
        name: f"{there[name] or 'nothing'} -> {_as_heat_shows(values[name]) or 'nothing'}"
        for name, parameter in template.parameters.items()
        if not parameter.hidden and name in there and there[name] != _as_heat_shows(values[name])
    }


def replacement_reasons(
    template: Template, found: Any, files: Mapping[str, str], values: Mapping[str, Any]
) -> list[str]:
    """Why an update of the stack `found`, created with `files`, replaces its server; empty when it does not.

    A stack that was created by hand has no tag, so a changed secret goes unnoticed.
    """
    tags = [tag for tag in found.tags or [] if tag.startswith(f"{SERVER}-")]
    reasons = sorted(changed_parameters(template, found.parameters, values).keys() & server_parameters(template))
    if found.stack_status == "UPDATE_FAILED":
        reasons.append("its last update failed")
    if source_text(template) not in files.values():
        reasons.append("another version's cloud-config")
    if not reasons and tags and server_tag(template, values, found.stack_name) not in tags:
        reasons.append("a secret, or another version's template")
    return reasons


def consequence(reasons: Sequence[str], changes: Mapping[str, str]) -> str:
    """The side effect of an update that a user must agree to; empty when there is none."""
    if reasons:
        return (
            f"This replaces the server ({', '.join(reasons)}). The cache on its disk is lost; a cache volume and the "
            "images in Swift stay."
        )
    if "cache_volume_size" in changes:
        return (
            "Cinder detaches the volume from the running server to extend it: the mirror and the registry fail until "
            "you reboot the server afterwards (openstack server reboot)."
        )
    return ""


def _snippets(template: Template, resource: str) -> dict[str, Any]:
    """The properties of a resource whose change replaces it."""
    body = template.resources[resource]
    wanted = _REPLACED_FOR.get(body["type"], ())
    return {name: value for name, value in body.get("properties", {}).items() if name in wanted}


def _parameters(template: Template, snippet: Any) -> Iterator[str]:
    """Every parameter that a snippet depends on, also through its conditions and the resources it refers to."""
    if isinstance(snippet, list):
        for item in snippet:
            yield from _parameters(template, item)
        return
    if not isinstance(snippet, dict):
        return
    for name, argument in snippet.items():
        first = argument[0] if isinstance(argument, list) and argument else argument
        if name == "get_param":
            yield str(first)
        elif name in ("get_attr", "get_resource"):
            yield from _parameters(template, list(_snippets(template, str(first)).values()))
        else:
            if name == "if":
                yield from _parameters(template, template.conditions.get(str(first)))
            yield from _parameters(template, argument)


def _as_heat_shows(value: Any) -> str:
    """A parameter's value as Heat's API returns it (heat/engine/parameters.py, __str__)."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value)
