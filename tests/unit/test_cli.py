"""The commands as a user types them, as far as they need no engine: one line, no traceback, exit code 1."""

import io
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_command

from registry_stack.cli import app, main
from registry_stack.deployment import Deployment
from tests.support.commands import ROOT

REQUIRED = (
    "hostname, domain, server_key, server_flavor, server_image, fip_network, "
    "os_username, os_password, os_region, os_authurl"
)


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    code: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def registry_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, with a fresh state folder and neither a Docker engine nor a cloud."""
    for name in [name for name in os.environ if name.startswith(("OS_", "DOCKER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REGISTRY_STACK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.chdir(ROOT)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["registry-stack", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return Done(int(left.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def malformed(tmp_path: Path) -> Path:
    path = tmp_path / "env.yaml"
    path.write_text("parameters:\n  hostname: [a\n")
    return path


def test_unknown_parameter_is_named_with_a_suggestion(registry_stack: Command) -> None:
    result = registry_stack("deploy", "-P", "upstream_ulr=http://a")
    assert result.code == 1
    assert result.stderr.strip() == 'error: unknown parameter "upstream_ulr" (-P); did you mean "upstream_url"?'


def test_missing_environment_file_is_named(registry_stack: Command) -> None:
    result = registry_stack("deploy", "-e", "nowhere.yaml")
    assert result.code == 1
    assert result.stderr.strip() == "error: environment file nowhere.yaml not found"


def test_malformed_environment_file_is_named_in_one_line(registry_stack: Command, malformed: Path) -> None:
    result = registry_stack("deploy", "-e", str(malformed))
    assert result.code == 1
    assert result.stderr.startswith(f"error: {malformed}:")
    assert "not valid YAML" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_malformed_image_reference_names_its_parameter(registry_stack: Command) -> None:
    result = registry_stack("deploy", "-P", "edge_image=Nginx:1")
    assert result.code == 1
    assert "edge_image" in result.stderr
    assert "Nginx:1" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_all_missing_parameters_are_listed_at_once(registry_stack: Command) -> None:
    result = registry_stack("deploy", "--os-cloud", "mine")
    assert result.code == 1
    assert result.stderr.strip() == (
        f"error: missing parameters: {REQUIRED}; give an environment file with -e "
        "or use -P name=value (example: heat/env.example.yaml)"
    )


def test_cloud_missing_from_clouds_yaml_is_named(registry_stack: Command) -> None:
    result = registry_stack("deploy", "--os-cloud", "mine", "-e", "heat/env.example.yaml")
    assert result.code == 1
    assert result.stderr.strip() == (
        "error: no cloud to deploy to: Cloud mine was not found. (name one with --os-cloud or OS_CLOUD)"
    )


def test_lab_target_needs_a_running_lab(registry_stack: Command) -> None:
    result = registry_stack("deploy", "--target", "lab", "-e", "heat/env.example.yaml")
    assert result.code == 1
    assert result.stderr.strip() == "error: the lab is not running: run `tox -e lab -- up`"


def test_unreachable_docker_host_is_named(registry_stack: Command) -> None:
    result = registry_stack("deploy")
    assert result.code == 1
    assert "unix:///nonexistent/docker.sock" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["client-config", "docker"]])
def test_command_without_a_deployment_says_how_to_deploy(registry_stack: Command, command: list[str]) -> None:
    result = registry_stack(*command)
    assert result.code == 1
    assert result.stdout == ""
    assert result.stderr.strip() == 'error: nothing is deployed under the name "docker_registry": run `tox -e deploy`'


@pytest.mark.parametrize("name", ["lab", "../x", ".x", "1st", "a b"])
def test_invalid_deployment_name_is_refused(registry_stack: Command, name: str) -> None:
    result = registry_stack("destroy", "--yes", "--name", name)
    assert result.code == 2
    assert f'"{name}" is' in result.stderr


def test_destroy_refuses_a_deployment_on_another_target(
    registry_stack: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OS_CLOUD means the target cloud, where the local deployment is not."""
    folder = tmp_path / "state" / "docker_registry"
    folder.mkdir(parents=True)
    known = Deployment("local", "docker_registry", "https://localhost", "https://localhost:5000", "/c", "docker", "/p")
    (folder / "deployment.json").write_text(known.as_json())
    monkeypatch.setenv("OS_CLOUD", "mine")
    result = registry_stack("destroy", "--yes")
    assert result.code == 1
    assert result.stderr.strip() == (
        'error: "docker_registry" is deployed on the target local: use --target local or another --name'
    )
    assert (folder / "deployment.json").exists()


def test_unknown_client_lists_the_known_ones(registry_stack: Command) -> None:
    result = registry_stack("client-config", "rkt")
    assert result.code == 1
    assert result.stderr.strip() == (
        'error: unknown client "rkt": choose one of docker, containerd, podman, buildkit, k3s'
    )


def test_demo_refuses_a_link_without_a_rate(registry_stack: Command) -> None:
    result = registry_stack("demo", "--rate", "0")
    assert result.code == 1
    assert result.stderr.strip().endswith("error: --rate 0: a link needs a rate above 0 Mbit/s")


@pytest.mark.parametrize("command", ["deploy", "demo"])
@pytest.mark.parametrize("hosts", ["0", "9"])
def test_impossible_number_of_hosts_is_refused(registry_stack: Command, command: str, hosts: str) -> None:
    done = registry_stack(command, "--hosts", hosts)
    assert done.code == 1
    assert done.stderr.endswith(f"error: --hosts {hosts}: a deployment has 1 to 8 hosts\n")


def test_group_without_shared_storage_is_refused(registry_stack: Command) -> None:
    done = registry_stack("deploy", "--hosts", "2")
    assert done.code == 1
    assert "error: --hosts 2: the hosts of a group share the pushed images, so " in done.stderr


@pytest.mark.parametrize("command", ["deploy", "status", "destroy", "doctor", "client-config", "demo"])
def test_every_command_has_help(registry_stack: Command, command: str) -> None:
    result = registry_stack(command, "--help")
    assert result.code == 0
    assert "Usage:" in result.stdout


def test_every_command_has_a_tox_env() -> None:
    (names,) = re.findall(r"^\[testenv:\{(.*)\}\]$", (ROOT / "tox.ini").read_text(), re.MULTILINE)
    assert set(names.split(",")) == get_command(app).commands.keys()  # type: ignore[attr-defined]
