"""One lab for the whole suite, with its credentials in a folder of the suite's own. If a lab is running, the tests are
skipped: they take it down."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine
from registry_stack.lab import lab, settings
from tests.lab import host_snapshot
from tests.support.collection import below
from tests.support.deadlines import factor, scaled


@dataclass
class RunningLab:
    """A lab that is ready, and how the machine outside was before it."""

    client: docker.DockerClient
    machine: Machine
    folder: Path
    before: dict[str, set[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in below(__file__, items):
        # Building the images is not counted: it is the fixture's.
        item.add_marker(pytest.mark.timeout(scaled(600), func_only=True))


@pytest.fixture(scope="session")
def client() -> docker.DockerClient:
    client = engine()
    if Machine.find(client, settings.NAME) is not None:
        pytest.skip("a lab is running, and these tests would take it down: run `tox -e lab -- down` first")
    return client


@pytest.fixture(scope="session")
def running(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_STACK_STATE", str(tmp_path_factory.mktemp("state")))
        before = host_snapshot.snapshot()
        try:
            folder = lab.up(patience=factor())
            machine = Machine.find(client, settings.NAME)
            assert machine is not None
            yield RunningLab(client, machine, folder, before)
        finally:
            lab.down()
