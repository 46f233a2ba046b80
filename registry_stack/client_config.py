"""Configuration of clients to use the mirror and to push: for each kind of client its files, and where they go.

The texts are the host's own, /etc/docker-registry/clients, which its status page shows as well. Sources:
docs.docker.com "registry-mirrors" and "certs.d"; containerd docs/hosts.md; containers-registries.conf(5) and
containers-certs.d(5); moby/buildkit docs/buildkitd.toml.md; docs.k3s.io "Private Registry Configuration".
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from registry_stack.deployment import Deployment
from registry_stack.userdata.upstreams import product_files

CA_HERE = "ca.crt"
CLIENTS = ("docker", "containerd", "podman", "buildkit", "k3s")
_FOLDER = "/etc/docker-registry/clients/"
_EACH = re.compile(r"^\{each\}\n(.*?)^\{end\}\n", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\{(\w+)\}")


def client_configuration(client: str, deployment: Deployment) -> str:
    """The text to print for one kind of client: commands and files for a shell as root on the client."""
    upstreams = {name: urlsplit(url).netloc for name, url in deployment.upstreams.items()}
    mirrored = ", ".join(["Docker Hub", *upstreams.values()])
    head = (
        f"# {client}: uses {deployment.mirror_url} as its mirror of {mirrored}\n"
        f"# and trusts {deployment.registry_url}.\n"
        f"# As root on the client, beside the CA certificate: {deployment.ca_file} copied as ./{CA_HERE}\n"
    )
    names = {
        "mirror": urlsplit(deployment.mirror_url).netloc,
        "registry": urlsplit(deployment.registry_url).netloc,
        "user": deployment.registry_username,
    }
    return head + fill_in(product_files()[f"{_FOLDER}{client}"].content.decode(), names, upstreams)


def fill_in(text: str, names: Mapping[str, str], upstreams: Mapping[str, str]) -> str:
    """What /opt/registry/render-snippet.awk does on the host; `upstreams` maps names to HOST[:PORT]."""

    def repeated(block: re.Match[str]) -> str:
        return "".join(_filled(block[1], {"name": name, **_variables(host)}) for name, host in upstreams.items())

    return _filled(_EACH.sub(repeated, text), names)


def _variables(host: str) -> dict[str, str]:
    """An upstream's host, and the same in a path below the mirror, where no port is allowed."""
    return {"host": host, "path": host.partition(":")[0]}


def _filled(text: str, names: Mapping[str, str]) -> str:
    return _NAME.sub(lambda found: names.get(found[1], found[0]), text)
