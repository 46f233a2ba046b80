"""What a client needs to use the mirror and to push: files and where they go, for each kind of client.

Sources: docs.docker.com "registry-mirrors" and "certs.d"; containerd docs/hosts.md; containers-registries.conf(5)
and containers-certs.d(5); moby/buildkit docs/buildkitd.toml.md; docs.k3s.io "Private Registry Configuration".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.deployment import Deployment

CA_HERE = "ca.crt"


@dataclass(frozen=True)
class _Addresses:
    """What the files name: host and port of mirror and registry, who logs in, hosts of more upstreams by name."""

    mirror: str
    registry: str
    user: str
    upstreams: Mapping[str, str]

    def own_name(self, name: str) -> str:
        """The mirror by the name that stands for one upstream."""
        return f"{name}.{self.mirror}"


def client_configuration(client: str, deployment: Deployment) -> str:
    """The text to print for one kind of client: commands and files for a shell as root on the client."""
    mirrored = ["Docker Hub", *(urlsplit(url).netloc for url in deployment.upstreams.values())]
    head = (
        f"# {client}: uses {deployment.mirror_url} as its mirror of {', '.join(mirrored)}\n"
        f"# and trusts {deployment.registry_url}.\n"
        f"# As root on the client, beside the CA certificate: {deployment.ca_file} copied as ./{CA_HERE}\n"
    )
    addresses = _Addresses(
        urlsplit(deployment.mirror_url).netloc,
        urlsplit(deployment.registry_url).netloc,
        deployment.registry_username,
        {name: urlsplit(url).netloc for name, url in deployment.upstreams.items()},
    )
    return head + CLIENTS[client](addresses)


def _file(path: str, content: str) -> str:
    return f"mkdir -p {path.rsplit('/', 1)[0]}\ncat > {path} <<'END'\n{content}END\n"


def _ca(*folders: str) -> str:
    return "".join(f"install -D -m 0644 {CA_HERE} {folder}/ca.crt\n" for folder in folders)


def _docker(at: _Addresses) -> str:
    own_names = [at.own_name(name) for name in at.upstreams]
    return (
        _ca(*(f"/etc/docker/certs.d/{host}" for host in (at.mirror, at.registry, *own_names)))
        + "# Docker mirrors Docker Hub only. Merge this into a daemon.json that you have already:\n"
        + _file("/etc/docker/daemon.json", f'{{"registry-mirrors": ["https://{at.mirror}"]}}\n')
        + "".join(f"# {host}/… as {at.own_name(name)}/…\n" for name, host in at.upstreams.items())
        + f"systemctl restart docker\ndocker login --username {at.user} {at.registry}\n"
    )


def _containerd(at: _Addresses) -> str:
    servers = {"docker.io": "registry-1.docker.io"} | {host: host for host in at.upstreams.values()}
    return (
        _ca(*(f"/etc/containerd/certs.d/{host}" for host in (*servers, at.registry)))
        + '# /etc/containerd/config.toml must name this folder: config_path = "/etc/containerd/certs.d"\n'
        + "".join(_hosts_toml(host, server, at.mirror, '"pull", "resolve"') for host, server in servers.items())
        + _hosts_toml(at.registry, at.registry, at.registry, '"pull", "resolve", "push"')
        + f"nerdctl login --username {at.user} {at.registry}\n"
    )


def _hosts_toml(host: str, server: str, asked: str, capabilities: str) -> str:
    """containerd says by itself which registry it means, with ns=."""
    return _file(
        f"/etc/containerd/certs.d/{host}/hosts.toml",
        f'server = "https://{server}"\n\n[host."https://{asked}"]\n'
        f'capabilities = [{capabilities}]\nca = "/etc/containerd/certs.d/{host}/ca.crt"\n',
    )


def _podman(at: _Addresses) -> str:
    locations = {"docker.io": at.mirror} | {host: f"{at.mirror}/{_path(host)}" for host in at.upstreams.values()}
    return (
        _ca(f"/etc/containers/certs.d/{at.mirror}", f"/etc/containers/certs.d/{at.registry}")
        + _file(
            "/etc/containers/registries.conf.d/50-mirror.conf",
            "\n".join(
                f'[[registry]]\nprefix = "{host}"\nlocation = "{host}"\n\n'
                f'[[registry.mirror]]\nlocation = "{location}"\n'
                for host, location in locations.items()
            ),
        )
        + f"podman login --username {at.user} {at.registry}\n"
    )


def _path(host: str) -> str:
    """An upstream's host in a path below the mirror: no port may stand there."""
    return host.partition(":")[0]


def _buildkit(at: _Addresses) -> str:
    mirrors = {"docker.io": at.mirror} | {host: f"{at.mirror}/{_path(host)}" for host in at.upstreams.values()}
    return (
        _ca("/etc/buildkit")
        + _file(
            "/etc/buildkit/buildkitd.toml",
            "\n".join(f'[registry."{host}"]\n  mirrors = ["{mirror}"]\n' for host, mirror in mirrors.items())
            + "\n"
            + "\n".join(f'[registry."{host}"]\n  ca = ["/etc/buildkit/ca.crt"]\n' for host in (at.mirror, at.registry)),
        )
        + "# then restart buildkitd, or: docker buildx create --use --config /etc/buildkit/buildkitd.toml\n"
        + f"docker login --username {at.user} {at.registry}\n"
    )


def _k3s(at: _Addresses) -> str:
    mirrors = "".join(
        f'  "{host}":\n    endpoint: ["https://{at.mirror}"]\n' for host in ("docker.io", *at.upstreams.values())
    )
    hosts = "".join(
        f'  "{host}":\n    tls: {{ca_file: /etc/rancher/k3s/registry-ca/ca.crt}}\n' for host in (at.mirror, at.registry)
    )
    return (
        _ca("/etc/rancher/k3s/registry-ca")
        + f"# To pull from {at.registry}, add auth: {{username: {at.user}, password: …}} beside its tls.\n"
        + _file("/etc/rancher/k3s/registries.yaml", f"mirrors:\n{mirrors}configs:\n{hosts}")
        + "systemctl restart k3s || systemctl restart k3s-agent\n"
    )


CLIENTS: dict[str, Callable[[_Addresses], str]] = {
    "docker": _docker,
    "containerd": _containerd,
    "podman": _podman,
    "buildkit": _buildkit,
    "k3s": _k3s,
}
