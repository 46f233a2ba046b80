"""A local deployment on an engine of the test's own, which restarts: the host is back, with all that is in it."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from registry_stack.deployment import current
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images import base_image, ensure_project_image, service_image
from registry_stack.images.archive import cache_path
from registry_stack.images.cleanup import list_project_images
from registry_stack.images.project import BASE_SUITES
from registry_stack.images.service import SUITE
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE
from registry_stack.targets.local.host import fallback_values
from registry_stack.targets.local.options import LocalOptions
from registry_stack.targets.local.rollout import wait_until_ready
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from tests.support.commands import NO_UPSTREAM, ROOT
from tests.support.deadlines import wait_until

# The images are copied into that engine, and three boots.
pytestmark = pytest.mark.long

NAME = f"hosttest-{secrets.token_hex(4)}"
PORT = 2375
DEPLOY = ("deploy", "-P", NO_UPSTREAM)


class OwnEngine:
    """A machine whose only task is to be a Docker engine, and the commands that use it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.wait_for_docker()
        self.client = docker.DockerClient(base_url=self.url, timeout=120)

    @property
    def url(self) -> str:
        return f"tcp://{self.machine.address}:{PORT}"

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return subprocess.run(
            [sys.executable, "-m", "registry_stack", command, "--name", NAME, *arguments],
            cwd=ROOT,
            env=environment | {"DOCKER_HOST": self.url},
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=200,
            check=False,
        )

    def host(self) -> Machine:
        host = Machine.find(self.client, NAME)
        assert host is not None
        return host


def needed_images(client: docker.DockerClient) -> set[str]:
    """What a deployment without an upstream is made of."""
    values = resolve_parameters(load_template(TEMPLATE), read_environment([], []), fallback_values(LocalOptions()))
    return {
        ensure_project_image(client, "host"),
        *(base_image(client, suite) for suite in (BASE_SUITES["host"], SUITE)),
        *(service_image(client, values[name], kind) for name, kind in IMAGE_PARAMETERS.items()),
    }


@pytest.fixture(scope="module")
def own_engine(request: pytest.FixtureRequest) -> Iterator[OwnEngine]:
    outer = engine()
    name = f"{NAME}-engine"
    spec = MachineSpec(
        image=ensure_project_image(outer, "client"),
        name=name,
        docker=True,
        command=[
            *("dockerd", "--bip", "10.221.0.1/24", "--default-address-pool", "base=10.222.0.0/16,size=24"),
            *("--host", "unix:///var/run/docker.sock", "--host", f"tcp://0.0.0.0:{PORT}", "--tls=false"),
        ],
    )
    machine = Machine.boot(outer, spec)
    try:
        own = OwnEngine(machine)
        for reference in needed_images(outer):
            own.client.api.load_image(outer.api.get_image(reference))  # type: ignore[no-untyped-call]
        yield own
    finally:
        machine.remove()


@pytest.fixture(scope="module")
def pushed(own_engine: OwnEngine) -> str:
    """A reference in the registry of the deployment; to push there, the engine needs no CA on its own loopback."""
    done = own_engine.run(*DEPLOY)
    assert done.returncode == 0, done.stderr
    registry, known = "127.0.0.1:5000", current(NAME)
    login = ["docker", "login", "--username", known.registry_username, "--password-stdin", registry]
    own_engine.machine.exec(login, input=known.password.encode())
    image = own_engine.client.images.list()[0].tags[0]
    own_engine.machine.exec(["sh", "-euc", f"docker tag {image} {registry}/kept:1; docker push -q {registry}/kept:1"])
    own_engine.client.images.remove(f"{registry}/kept:1")
    return f"{registry}/kept:1"


def test_host_comes_back_when_the_engine_restarts(own_engine: OwnEngine, pushed: str) -> None:
    before = own_engine.host().container.id
    own_engine.machine.restart()
    own_engine.machine.wait_for_docker()
    own_engine.client = docker.DockerClient(base_url=own_engine.url, timeout=120)
    host = own_engine.host()
    wait_until(lambda: None if host.running else "not running", 30, "the host to be started by its engine")
    assert host.container.id == before
    wait_until_ready(host, lambda _step: None)
    own_engine.machine.exec(["docker", "pull", "--quiet", pushed])
    status = own_engine.run("status")
    assert status.returncode == 0, status.stdout


def test_stopped_host_is_started_not_replaced(own_engine: OwnEngine, pushed: str) -> None:
    host = own_engine.host()
    host.container.stop(timeout=30)
    done = own_engine.run(*DEPLOY)
    assert done.returncode == 0, done.stderr
    assert own_engine.host().container.id == host.container.id
    assert f"{NAME} has these parameters but is stopped: starting it" in done.stderr
    assert "have changed" not in done.stderr


def test_destroy_says_what_stays_and_images_removes_it(
    own_engine: OwnEngine, pushed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = own_engine.run("destroy", "--yes")
    assert done.returncode == 0, done.stderr
    assert f" images and {cache_path()} (--images deletes them)." in done.stdout
    assert list_project_images(own_engine.client) != []
    done = own_engine.run("destroy", "--yes", "--images")
    assert done.returncode == 0, done.stderr
    assert list_project_images(own_engine.client) == []
    assert not cache_path().exists()
