"""What a client needs to use the mirror and to push: files and where they go, for each kind of client.

Sources: docs.docker.com "registry-mirrors" and "certs.d"; containerd docs/hosts.md; containers-registries.conf(5)
and containers-certs.d(5); moby/buildkit docs/buildkitd.toml.md; docs.k3s.io "Private Registry Configuration".
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from harness.deployment import Deployment

CA_HERE = "ca.crt"


def client_configuration(client: str, deployment: Deployment) -> str:
    """The text to print for one kind of client: commands and files for a shell as root on the client."""
    mirror, registry = urlsplit(deployment.mirror_url).netloc, urlsplit(deployment.registry_url).netloc
    head = (
        f"# {client}: uses {deployment.mirror_url} as its mirror of Docker Hub and trusts {deployment.registry_url}.\n"
        f"# As root on the client, beside the CA certificate: {deployment.ca_file} copied as ./{CA_HERE}\n"
    )
    return head + CLIENTS[client](mirror, registry, deployment.registry_username)


def _file(path: str, content: str) -> str:
    return f"mkdir -p {path.rsplit('/', 1)[0]}\ncat > {path} <<'END'\n{content}END\n"


def _ca(*folders: str) -> str:
    return "".join(f"install -D -m 0644 {CA_HERE} {folder}/ca.crt\n" for folder in folders)


def _docker(mirror: str, registry: str, user: str) -> str:
    return (
        _ca(f"/etc/docker/certs.d/{mirror}", f"/etc/docker/certs.d/{registry}")
        + "# Docker mirrors Docker Hub only. Merge this into a daemon.json that you have already:\n"
        + _file("/etc/docker/daemon.json", f'{{"registry-mirrors": ["https://{mirror}"]}}\n')
        + f"systemctl restart docker\ndocker login --username {user} {registry}\n"
    )


def _containerd(mirror: str, registry: str, user: str) -> str:
    return (
        _ca("/etc/containerd/certs.d/docker.io", f"/etc/containerd/certs.d/{registry}")
        + '# /etc/containerd/config.toml must name this folder: config_path = "/etc/containerd/certs.d"\n'
        + _file(
            "/etc/containerd/certs.d/docker.io/hosts.toml",
            f'server = "https://registry-1.docker.io"\n\n[host."https://{mirror}"]\n'
            'capabilities = ["pull", "resolve"]\nca = "/etc/containerd/certs.d/docker.io/ca.crt"\n',
        )
        + _file(
            f"/etc/containerd/certs.d/{registry}/hosts.toml",
            f'server = "https://{registry}"\n\n[host."https://{registry}"]\n'
            f'capabilities = ["pull", "resolve", "push"]\nca = "/etc/containerd/certs.d/{registry}/ca.crt"\n',
        )
        + f"nerdctl login --username {user} {registry}\n"
    )


def _podman(mirror: str, registry: str, user: str) -> str:
    return (
        _ca(f"/etc/containers/certs.d/{mirror}", f"/etc/containers/certs.d/{registry}")
        + _file(
            "/etc/containers/registries.conf.d/50-mirror.conf",
            '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n\n'
            f'[[registry.mirror]]\nlocation = "{mirror}"\n',
        )
        + f"podman login --username {user} {registry}\n"
    )


def _buildkit(mirror: str, registry: str, user: str) -> str:
    return (
        _ca("/etc/buildkit")
        + _file(
            "/etc/buildkit/buildkitd.toml",
            f'[registry."docker.io"]\n  mirrors = ["{mirror}"]\n\n'
            + "\n".join(f'[registry."{host}"]\n  ca = ["/etc/buildkit/ca.crt"]\n' for host in (mirror, registry)),
        )
        + "# then restart buildkitd, or: docker buildx create --use --config /etc/buildkit/buildkitd.toml\n"
        + f"docker login --username {user} {registry}\n"
    )


def _k3s(mirror: str, registry: str, user: str) -> str:
    hosts = "".join(
        f'  "{host}":\n    tls: {{ca_file: /etc/rancher/k3s/registry-ca/ca.crt}}\n' for host in (mirror, registry)
    )
    return (
        _ca("/etc/rancher/k3s/registry-ca")
        + f"# To pull from {registry}, add auth: {{username: {user}, password: …}} beside its tls.\n"
        + _file(
            "/etc/rancher/k3s/registries.yaml",
            f'mirrors:\n  docker.io:\n    endpoint: ["https://{mirror}"]\nconfigs:\n{hosts}',
        )
        + "systemctl restart k3s || systemctl restart k3s-agent\n"
    )


CLIENTS: dict[str, Callable[[str, str, str], str]] = {
    "docker": _docker,
    "containerd": _containerd,
    "podman": _podman,
    "buildkit": _buildkit,
    "k3s": _k3s,
}
