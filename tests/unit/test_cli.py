"""The commands as a user types them, as far as they need no engine: one line, no traceback, exit code 1."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from registry_stack.cli import app
from registry_stack.deployment import Deployment

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = (
    "hostname, domain, server_key, server_flavor, server_image, fip_network, "
    "os_username, os_password, os_region, os_authurl"
)


def registry_stack(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command with a state folder of its own and no engine to be found."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "DOCKER_"))}
    own = {"REGISTRY_STACK_STATE": str(tmp_path / "state"), "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    return subprocess.run(
        [sys.executable, "-m", "registry_stack", *arguments],
        cwd=ROOT,
        env=clean | own | environment,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


@pytest.fixture
def malformed(tmp_path: Path) -> Path:
    path = tmp_path / "env.yaml"
    path.write_text("parameters:\n  hostname: [a\n")
    return path


def test_unknown_parameter(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "deploy", "-P", "upstream_ulr=http://a")
    assert result.returncode == 1
    assert result.stderr.strip() == 'error: unknown parameter "upstream_ulr" (-P); did you mean "upstream_url"?'


def test_environment_file_that_is_not_there(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "deploy", "-e", "nowhere.yaml")
    assert result.returncode == 1
    assert result.stderr.strip() == "error: environment file nowhere.yaml not found"


def test_malformed_environment_file(tmp_path: Path, malformed: Path) -> None:
    result = registry_stack(tmp_path, "deploy", "-e", str(malformed))
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {malformed}:")
    assert "not valid YAML" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_image_name_that_does_not_parse(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "deploy", "-P", "edge_image=Nginx:1")
    assert result.returncode == 1
    assert "edge_image" in result.stderr
    assert "Nginx:1" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_missing_parameters_of_a_stack_all_at_once(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "deploy", "--os-cloud", "mine")
    assert result.returncode == 1
    assert result.stderr.strip() == (
        f"error: missing parameters: {REQUIRED}; give an environment file with -e "
        "or use -P name=value (example: heat/env.example.yaml)"
    )


def test_cloud_that_is_not_in_clouds_yaml(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "deploy", "--os-cloud", "mine", "-e", "heat/env.example.yaml")
    assert result.returncode == 1
    assert result.stderr.strip() == (
        "error: no cloud to deploy to: Cloud mine was not found. (name one with --os-cloud or OS_CLOUD)"
    )


def test_lab_that_is_not_up(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "deploy", "--target", "lab", "-e", "heat/env.example.yaml")
    assert result.returncode == 1
    assert result.stderr.strip() == "error: the lab is not up: run `tox -e lab -- up`"


def test_no_engine_at_the_address_the_user_named(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "deploy")
    assert result.returncode == 1
    assert "unix:///nonexistent/docker.sock" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["client-config", "docker"]])
def test_nothing_deployed(tmp_path: Path, command: list[str]) -> None:
    result = registry_stack(tmp_path, *command)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.strip() == 'error: nothing is deployed under the name "docker_registry": run `tox -e deploy`'


@pytest.mark.parametrize("name", ["lab", "../x", ".x", "1st", "a b"])
def test_name_that_cannot_be_one(tmp_path: Path, name: str) -> None:
    result = registry_stack(tmp_path, "destroy", "--yes", "--name", name)
    assert result.returncode == 2
    assert f'"{name}" is' in result.stderr


def test_destroy_leaves_alone_what_is_on_another_target(tmp_path: Path) -> None:
    """A cloud in the environment is not where the local deployment is."""
    folder = tmp_path / "state" / "docker_registry"
    folder.mkdir(parents=True)
    known = Deployment("local", "docker_registry", "https://localhost", "https://localhost:5000", "/c", "docker", "/p")
    (folder / "deployment.json").write_text(known.as_json())
    result = registry_stack(tmp_path, "destroy", "--yes", OS_CLOUD="mine")
    assert result.returncode == 1
    assert result.stderr.strip() == (
        'error: "docker_registry" is deployed on the target local: go on with --target local, or use another --name'
    )
    assert (folder / "deployment.json").exists()


def test_client_that_is_not_known(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "client-config", "rkt")
    assert result.returncode == 1
    assert result.stderr.strip() == (
        'error: no configuration is known for "rkt": choose one of docker, containerd, podman, buildkit, k3s'
    )


def test_link_without_a_rate(tmp_path: Path) -> None:
    result = registry_stack(tmp_path, "demo", "--rate", "0")
    assert result.returncode == 1
    assert result.stderr.strip().endswith("error: --rate 0: a link needs a rate above 0 Mbit/s")


@pytest.mark.parametrize("command", ["deploy", "status", "destroy", "doctor", "client-config", "demo"])
def test_help_of_every_command(tmp_path: Path, command: str) -> None:
    result = registry_stack(tmp_path, command, "--help")
    assert result.returncode == 0
    assert "Usage:" in result.stdout


def test_every_command_has_a_tox_env() -> None:
    (names,) = re.findall(r"^\[testenv:\{(.*)\}\]$", (ROOT / "tox.ini").read_text(), re.MULTILINE)
    assert set(names.split(",")) == get_command(app).commands.keys()  # type: ignore[attr-defined]
