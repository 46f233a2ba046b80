"""The user-data as Heat hands it to Nova."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from registry_stack.errors import RegistryStackError
from registry_stack.template.functions import References, Scope
from registry_stack.template.template import Template

# nova/api/openstack/compute/schemas/servers.py: user_data is base64 text of at most this length.
NOVA_LIMIT = 65_535
PLACEHOLDER = re.compile(r"@@[A-Z][A-Z0-9_]*@@")
_REPLACE = ("str_replace", "str_replace_strict", "str_replace_vstrict")


def render_user_data(template: Template, values: Mapping[str, Any], references: References) -> str:
    """The user-data of the template's only server, rendered by the template's own mapping.

    Raises RegistryStackError when a function fails or a placeholder has no param. What Nova takes: see check_size.
    """
    scope = Scope(template, values, references)
    where, snippet = _user_data(scope)
    _refuse_unfilled(scope, snippet, where)
    text = scope.evaluate(snippet, where)
    if not isinstance(text, str):
        raise RegistryStackError(f"{template.path}: {where} must be text, not {type(text).__name__}")
    return text


def longest_references(template: Template) -> References:
    """Stand-ins for what only a cloud knows, each as long as it gets."""
    # A wait condition's URL and token are long; addresses, IDs and the generated password are not.
    return {key: "r" * (255 if key[0].endswith("_handle") else 64) for key in references_in(template.resources)}


def placeholder_value(template: Template, values: Mapping[str, Any], references: References, placeholder: str) -> Any:
    """The value that the template's own mapping gives one placeholder."""
    scope = Scope(template, values, references)
    where, snippet = _user_data(scope)
    return scope.evaluate(_replacement(snippet)["params"][placeholder], f"{where}.{placeholder}")


def source_text(template: Template, values: Mapping[str, Any]) -> str:
    """The user-data before any value is inserted: the `template:` of its str_replace."""
    scope = Scope(template, values, {})
    where, snippet = _user_data(scope)
    arguments = _replacement(snippet)
    return str(scope.evaluate(arguments["template"] if arguments else snippet, where))


def base64_length(text: str) -> int:
    """The length that Nova counts."""
    return 4 * -(-len(text.encode()) // 3)


def check_size(text: str, values: Mapping[str, Any]) -> None:
    """Raise RegistryStackError when the user-data with these values is too long for Nova."""
    length = base64_length(text)
    if length > NOVA_LIMIT:
        excess = len(text.encode()) - NOVA_LIMIT // 4 * 3
        sizes = {name: len(value.encode()) for name, value in values.items() if isinstance(value, str)}
        longest = ", ".join(f"{name} ({sizes[name]})" for name in sorted(sizes, key=lambda n: -sizes[n])[:3])
        raise RegistryStackError(
            f"the user-data has {length} base64 characters, Nova takes {NOVA_LIMIT}: shorten the parameters by "
            f"{excess} bytes. The longest are {longest}; an upstream's login may be in a file on the host instead, "
            "/var/lib/registry/logins/NAME (docs/operations.md)"
        )


def placeholders(text: str) -> set[str]:
    """Every `@@NAME@@` in a text."""
    return set(PLACEHOLDER.findall(text))


def references_in(snippet: Any) -> Iterator[tuple[str, ...]]:
    """Every get_resource and get_attr in a piece of template, as keys of References."""
    if isinstance(snippet, dict):
        for key, value in snippet.items():
            if key == "get_resource":
                yield (value,)
            elif key == "get_attr":
                yield tuple(value)
            else:
                yield from references_in(value)
    elif isinstance(snippet, list):
        for item in snippet:
            yield from references_in(item)


def _user_data(scope: Scope) -> tuple[str, Any]:
    """Where the user-data is in the template, and its snippet; of an `if`, the branch that is taken."""
    found = [
        (name, body.get("properties", {})["user_data"])
        for name, body in scope.template.resources_of("OS::Nova::Server").items()
        if "user_data" in body.get("properties", {})
    ]
    if len(found) != 1:
        raise RegistryStackError(
            f"{scope.template.path}: needs exactly one OS::Nova::Server with user_data, has {len(found)}"
        )
    name, snippet = found[0]
    return scope.branch(snippet, f"resources.{name}.properties.user_data")


def _replacement(snippet: Any) -> Any:
    """The arguments of the snippet, if it is a str_replace."""
    if isinstance(snippet, dict) and len(snippet) == 1 and next(iter(snippet)) in _REPLACE:
        return next(iter(snippet.values()))
    return None


def _refuse_unfilled(scope: Scope, snippet: Any, where: str) -> None:
    """Check the source, not the result, since a user's value may look like a placeholder."""
    arguments = _replacement(snippet)
    if not isinstance(arguments, dict) or not isinstance(arguments.get("params"), dict):
        return
    source = scope.evaluate(arguments.get("template"), f"{where}.template")
    left = sorted(placeholders(str(source)) - arguments["params"].keys())
    if left:
        raise RegistryStackError(f"{scope.template.path}: {where}: no param for {', '.join(left)}")
