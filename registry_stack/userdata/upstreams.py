"""The parameter `upstreams`, with the registries that it takes by name alone."""

from collections.abc import Mapping
from functools import cache

from registry_stack.errors import RegistryStackError
from registry_stack.product import CLOUD_CONFIG
from registry_stack.template.yaml_loader import read_text
from registry_stack.userdata.host_files import HostFile, host_files
from registry_stack.userdata.render import PLACEHOLDER

_PRESETS = "/etc/docker-registry/presets"


def parse_upstreams(text: str) -> dict[str, str]:
    """NAME and URL of each entry, in order; raises RegistryStackError for a name alone that is none of `presets`."""
    entries = [entry.partition("=") for entry in text.split(",") if entry]
    known = presets()
    if unknown := [name for name, equals, _url in entries if not equals and name not in known]:
        raise RegistryStackError(
            f'upstreams: no registry is known as "{unknown[0]}", only {", ".join(known)}: '
            f"write {unknown[0]}=URL, such as gar=https://REGION-docker.pkg.dev"
        )
    return {name: url if equals else known[name] for name, equals, url in entries}


def presets() -> dict[str, str]:
    """The URL of each registry that is known by name, as on the host."""
    lines = product_files()[_PRESETS].content.decode().splitlines()
    return {name: url for name, url, *_hosts in map(str.split, lines)}


@cache
def product_files() -> Mapping[str, HostFile]:
    """The files of a host, before any value is inserted."""
    return host_files(PLACEHOLDER.sub("", read_text(CLOUD_CONFIG, "cloud-config")))
