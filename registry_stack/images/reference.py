"""Image references: their grammar, and the registry that a reference names."""

import re

from registry_stack.errors import RegistryStackError

DOCKER_HUB = "docker.io"

_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = rf"(?P<domain>{_HOST}(?::[0-9]+)?)"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
_TAG = r"(?::(?P<tag>\w[\w.-]{0,127}))?"
_DIGEST = r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
_REFERENCE = re.compile(rf"(?:{_DOMAIN}/)?{_PATH}{_TAG}{_DIGEST}", re.ASCII)
# reference.go: a name longer than this is refused although its characters are fine.
_LONGEST_NAME = 255


def check_reference(reference: str, parameter: str) -> str:
    """Return `reference` if it is an image reference; else raise RegistryStackError naming the parameter.

    The grammar is that of github.com/distribution/reference v0.5.0, reference.go lines 4-26 and regexp.go.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None or len(f"{match['domain'] or ''}/{match['path']}") > _LONGEST_NAME:
        raise RegistryStackError(
            f"{parameter}: {reference!r} is not an image reference: "
            "write it as [REGISTRY/]NAME[:TAG][@DIGEST], lower case, like registry:2.8.3"
        )
    return reference


def registry_host(reference: str) -> str:
    """The registry a reference names, by Docker's rule: a first part with a dot or a port, or `localhost`."""
    first, slash, _rest = reference.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return first if named else DOCKER_HUB
