"""Configuration of clients to use the mirror and to push: for each kind of client its files, and where they go.

The texts are the host's own, /etc/docker-registry/clients, which its status page shows as well. Sources:
docs.docker.com "registry-mirrors" and "certs.d"; containerd docs/hosts.md; containers-registries.conf(5) and
containers-certs.d(5); moby/buildkit docs/buildkitd.toml.md; docs.k3s.io "Private Registry Configuration".
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from registry_stack.deployment import Deployment
from registry_stack.userdata.upstreams import product_files

CA_HERE = "ca.crt"
CLIENTS = ("docker", "containerd", "podman", "buildkit", "k3s")
_FOLDER = "/etc/docker-registry/clients/"
_EACH = re.compile(r"^\{each\}\n(.*?)^\{end\}\n", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\{(\w+)\}")
# What is there once for each host of a group: an item of a list, a command, a table of TOML or a key of YAML.
_LIST = r'\[("[^"\n]*HOST[^"\n]*")\]'
_BLOCK = (
    r'^(install .*HOST.*\n|\[\[registry\.mirror\]\]\nlocation = .*HOST.*\n|\[\w+\."(?:https://)?HOST"\]\n|  "HOST":\n)'
    r"((?: *(?:ca|capabilities|tls)\b.*\n)*)"
)


def client_configuration(client: str, deployment: Deployment) -> str:
    """The text to print for one kind of client: commands and files for a shell as root on the client."""
    mirrors = [urlsplit(url).netloc for url in deployment.mirror_urls]
    registries = [urlsplit(url).netloc for url in deployment.registry_urls]
    upstreams = {name: urlsplit(url).netloc for name, url in deployment.upstreams.items()}
    mirrored = ", ".join(["Docker Hub", *upstreams.values()])
    head = (
        f"# {client}: uses {', '.join(f'https://{mirror}' for mirror in mirrors)} as its mirror of {mirrored}\n"
        f"# and trusts {', '.join(f'https://{registry}' for registry in registries)}.\n"
        f"# As root on the client, beside the CA certificate: {deployment.ca_file} copied as ./{CA_HERE}\n"
    )
    names = {"user": deployment.registry_username, "shared": urlsplit(deployment.mirror_url).netloc}
    text = product_files()[f"{_FOLDER}{client}"].content.decode()
    # Part of an image's name, so not one for each host.
    text = text.replace("{name}.{mirror}", "{name}.{shared}")
    for kind, hosts in (("mirror", mirrors), ("registry", registries)):
        placeholders = _placeholders(kind, len(hosts))
        names |= dict(zip((one.strip("{}") for one in placeholders), hosts, strict=True))
        text = _for_each_host(text, placeholders)
    return head + fill_in(text, names, upstreams)


def _placeholders(kind: str, count: int) -> list[str]:
    """`{mirror}`, `{mirror1}`, …"""
    return [f"{{{kind}{number or ''}}}" for number in range(count)]


def _for_each_host(text: str, placeholders: Sequence[str]) -> str:
    """The same text, with what names the first host once for each host of a group."""
    first = placeholders[0]

    def items(found: re.Match[str]) -> str:
        return f"[{', '.join(found[1].replace(first, one) for one in placeholders)}]"

    def blocks(found: re.Match[str]) -> str:
        return "".join(found[1].replace(first, one) + found[2] for one in placeholders)

    text = re.sub(_LIST.replace("HOST", re.escape(first)), items, text)
    return re.sub(_BLOCK.replace("HOST", re.escape(first)), blocks, text, flags=re.MULTILINE)


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
