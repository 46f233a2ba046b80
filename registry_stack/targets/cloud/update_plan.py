"""What an update would do to the server, found out before it is started.

Heat's own preview (heat/engine/update.py) resolves references in a stack without resources, so it announces the
replacement of everything that refers to another resource.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from registry_stack.targets.cloud.fingerprint import fingerprint
from registry_stack.template.functions import Scope
from registry_stack.template.template import Template
from registry_stack.userdata.render import source_text

SERVER = "server"
# The properties whose change replaces a resource, of the resources that a server refers to: update_allowed is False in
# properties_schema of heat/engine/resources/openstack; image and user_data have a policy of their own.
_REPLACED_FOR = {
    "OS::Nova::Server": ("image", "key_name", "user_data_format", "scheduler_hints"),
    "OS::Neutron::FloatingIP": ("floating_network",),
}
_POLICY = "user_data_update_policy"


def is_in_place(template: Template, values: Mapping[str, Any]) -> bool:
    """Whether a server with these values takes changed settings in place: user-data counts for a new one only."""
    policy = template.resources[SERVER]["properties"].get(_POLICY)
    return bool(Scope(template, values, {}).evaluate(policy, f"resources.{SERVER}.properties.{_POLICY}") == "IGNORE")


def server_parameters(template: Template, values: Mapping[str, Any]) -> set[str]:
    """The parameters whose change replaces the server."""
    own = _parameters(template, list(_snippets(template, SERVER, values).values()), values)
    return {"settings_transport", *own}


def server_tag(template: Template, values: Mapping[str, Any], stack: str) -> str:
    """A tag that changes with anything that replaces the server."""
    own = {name: values[name] for name in server_parameters(template, values) & values.keys()}
    inputs = [_snippets(template, SERVER, values), own]
    if not is_in_place(template, values):
        inputs += [template.conditions, {"user-data": source_text(template, values)}]
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
    changes = changed_parameters(template, found.parameters, values).keys()
    reasons = sorted(changes & server_parameters(template, values))
    if is_in_place(template, values):
        if "settings_transport" not in found.parameters:
            # A stack from before there was a choice.
            reasons.append("settings_transport")
    else:
        if found.stack_status == "UPDATE_FAILED":
            reasons.append("its last update failed")
        if source_text(template, values) not in files.values():
            reasons.append("another version's cloud-config")
    if not reasons and tags and server_tag(template, values, found.stack_name) not in tags:
        reasons.append("a secret, or another version's template")
    return reasons


def consequence(reasons: Sequence[str], changes: Mapping[str, str], hosts: int = 1) -> str:
    """The side effect of an update that a user must agree to; empty when there is none."""
    if reasons:
        what = "the server" if hosts == 1 else "the servers, one after the other"
        return (
            f"This replaces {what} ({', '.join(reasons)}). The cache on its disk is lost; a cache volume and the "
            "images in Swift stay."
        )
    if "cache_volume_size" in changes:
        return (
            "Cinder detaches the volume from the running server to extend it: the mirror and the registry fail until "
            "you reboot the server afterwards (openstack server reboot)."
        )
    return ""


def _snippets(template: Template, resource: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a resource whose change replaces it."""
    body = template.resources[resource]
    wanted = list(_REPLACED_FOR.get(body["type"], ()))
    if resource == SERVER and not is_in_place(template, values):
        wanted.append("user_data")
    return {name: value for name, value in body.get("properties", {}).items() if name in wanted}


def _parameters(template: Template, snippet: Any, values: Mapping[str, Any]) -> Iterator[str]:
    """Every parameter that a snippet depends on, also through its conditions and the resources it refers to."""
    if isinstance(snippet, list):
        for item in snippet:
            yield from _parameters(template, item, values)
        return
    if not isinstance(snippet, dict):
        return
    for name, argument in snippet.items():
        first = argument[0] if isinstance(argument, list) and argument else argument
        if name == "get_param":
            yield str(first)
        elif name in ("get_attr", "get_resource"):
            yield from _parameters(template, list(_snippets(template, str(first), values).values()), values)
        elif name == "if":
            yield from _parameters(template, template.conditions.get(str(first)), values)
            # The values of the branch that is not taken do not count.
            yield from _parameters(template, Scope(template, values, {}).branch(snippet, "update plan")[1], values)
        else:
            yield from _parameters(template, argument, values)


def _as_heat_shows(value: Any) -> str:
    """A parameter's value as Heat's API returns it (heat/engine/parameters.py, __str__)."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value)
