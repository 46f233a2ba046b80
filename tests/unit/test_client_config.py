"""client-config: each file that it prints parses in its own format and contains both addresses."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry_stack.client_config import CLIENTS, client_configuration, fill_in
from registry_stack.deployment import Deployment
from registry_stack.userdata.upstreams import product_files

DEPLOYMENT = Deployment(
    target="local",
    name="docker_registry",
    mirror_url="https://mirror.example.com:8443",
    registry_url="https://mirror.example.com:5000",
    ca_file="/state/ca.crt",
    registry_username="docker",
    password_file="/state/password",
)
# Braces of JSON and YAML.
_TOML_OR_YAML = re.compile(r'\{(?=["ca]|username: )')
PARSERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".conf": tomllib.loads,
    ".yaml": yaml.safe_load,
}


def files(client: str, deployment: Deployment = DEPLOYMENT) -> dict[str, Any]:
    """The files that the printed commands write, parsed, by path."""
    text = client_configuration(client, deployment)
    found = re.findall(r"^cat > (\S+) <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)
    return {path: PARSERS[path[path.rindex(".") :]](content) for path, content in found}


@pytest.mark.parametrize("client", list(CLIENTS))
def test_every_file_parses(client: str) -> None:
    found = files(client)
    assert found
    assert all(found.values())


@pytest.mark.parametrize("client", list(CLIENTS))
def test_text_has_both_addresses_the_ca_and_the_user(client: str) -> None:
    text = client_configuration(client, DEPLOYMENT)
    for needed in ("mirror.example.com:8443", "mirror.example.com:5000", "/state/ca.crt", "docker"):
        assert needed in text


def test_docker_is_reloaded() -> None:
    """A restart would end every container on the client, of which the host of a local deployment may be one."""
    assert "\nsystemctl reload docker\n" in client_configuration("docker", DEPLOYMENT)


def test_docker_uses_the_mirror() -> None:
    assert files("docker") == {"/etc/docker/daemon.json": {"registry-mirrors": ["https://mirror.example.com:8443"]}}


def test_containerd_falls_back_to_docker_hub() -> None:
    hosts = files("containerd")["/etc/containerd/certs.d/docker.io/hosts.toml"]
    assert hosts["server"] == "https://registry-1.docker.io"
    assert hosts["host"]["https://mirror.example.com:8443"]["capabilities"] == ["pull", "resolve"]


def test_podman_mirrors_docker_hub() -> None:
    (conf,) = files("podman").values()
    (registry,) = conf["registry"]
    assert registry["prefix"] == "docker.io"
    assert registry["mirror"] == [{"location": "mirror.example.com:8443"}]


def test_docker_finds_the_mirrors_ca_by_either_name() -> None:
    """By the mirror's, or with the containerd image store of Docker 28 by the mirrored registry's (daemon/hosts.go)."""
    for name in ("mirror.example.com:8443", "docker.io"):
        assert f"ca.crt /etc/docker/certs.d/{name}/ca.crt" in client_configuration("docker", DEPLOYMENT)


def test_each_client_selects_more_upstreams_in_its_own_way() -> None:
    """containerd by ns=, Docker by name, Podman and BuildKit by path."""
    more = replace(DEPLOYMENT, upstreams={"ghcr": "https://ghcr.io", "own": "http://own.example:5000/registry"})
    found = {client: files(client, more) for client in CLIENTS}
    assert "install -D -m 0644 ca.crt /etc/docker/certs.d/ghcr.mirror.example.com:8443/ca.crt" in client_configuration(
        "docker", more
    )
    hosts = found["containerd"]["/etc/containerd/certs.d/ghcr.io/hosts.toml"]
    assert list(hosts["host"]) == ["https://mirror.example.com:8443"]
    (conf,) = found["podman"].values()
    assert [one["mirror"][0]["location"] for one in conf["registry"]] == [
        "mirror.example.com:8443",
        "mirror.example.com:8443/ghcr.io",
        "mirror.example.com:8443/own.example",
    ]
    (toml,) = found["buildkit"].values()
    assert toml["registry"]["ghcr.io"]["mirrors"] == ["mirror.example.com:8443/ghcr.io"]
    (yml,) = found["k3s"].values()
    assert list(yml["mirrors"]) == ["docker.io", "ghcr.io", "own.example:5000"]


def test_no_secret_is_printed() -> None:
    for client in CLIENTS:
        assert "password_file" not in client_configuration(client, DEPLOYMENT)
        assert "/state/password" not in client_configuration(client, DEPLOYMENT)


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("upstreams", [{}, {"ghcr": "ghcr.io", "own": "own.example:5000"}])
def test_host_renders_the_same_text(client: str, upstreams: dict[str, str], tmp_path: Path) -> None:
    """The status page shows the same files, rendered on the host."""
    names = {"mirror": "mirror.example.com", "registry": "mirror.example.com:5000", "user": "somebody"}
    text = product_files()[f"/etc/docker-registry/clients/{client}"].content.decode()
    program = tmp_path / "render-snippet.awk"
    program.write_bytes(product_files()["/opt/registry/render-snippet.awk"].content)
    given = names | {"upstreams": ",".join(f"{name}={host}" for name, host in upstreams.items())}
    settings = [word for name, value in given.items() for word in ("-v", f"{name}={value}")]
    done = subprocess.run(["awk", *settings, "-f", program], input=text, capture_output=True, text=True, check=True)
    assert done.stdout == fill_in(text, names, upstreams)
    assert "{" not in _TOML_OR_YAML.sub("", done.stdout)
