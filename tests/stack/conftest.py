"""One lab for the suite, and one stack on it that most tests look at or change."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from testinfra.host import Host

from tests.host.stack_targets import LabTarget
from tests.host.targets import Target
from tests.stack.stack_under_test import StackUnderTest
from tests.support.collection import below
from tests.support.deadlines import scaled
from tests.support.evidence import Evidence
from tests.support.lab import UsedLab, used_lab
from tests.support.oci import OciClient
from tests.support.upstream import Upstream

EVIDENCE = pytest.StashKey[Evidence]()
WORLD = pytest.StashKey[StackUnderTest]()
MEASURED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[EVIDENCE] = Evidence("stack")
    config.stash[MEASURED] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in below(__file__, items):
        # Of which one emulated boot may take five minutes.
        item.add_marker(pytest.mark.timeout(scaled(1200)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash[MEASURED]:
        terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    report = yield
    if report.failed and WORLD in item.config.stash:
        world = item.config.stash[WORLD]
        folder = item.config.stash[EVIDENCE].keep(f"{item.name}-{report.when}", partial(StackUnderTest.collect, world))
        report.sections.append(("logs", folder))
    return report


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> list[str]:
    """Lines for the end of the output: durations that docs/operations.md gives."""
    return request.config.stash[MEASURED]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsedLab]:
    """The lab, and a state folder of this run instead of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_STACK_STATE", str(tmp_path_factory.mktemp("state")))
        with used_lab() as lab:
            yield lab


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, lab: UsedLab) -> Iterator[StackUnderTest]:
    """The upstream and the names; stacks are made by the tests, and removed here whatever became of them."""
    world = StackUnderTest.make(lab)
    request.config.stash[WORLD] = world
    try:
        yield world
    finally:
        world.remove()


@pytest.fixture(scope="session")
def deployed(world: StackUnderTest) -> StackUnderTest:
    """With its stack: the first `deploy` is interrupted halfway, the second continues it."""
    world.deploy_interrupted()
    return world


class AdoptedTarget(LabTarget):
    """The stack of this suite as a host under test, for the tests of tests/host that look at it."""

    def __init__(self, stack: StackUnderTest) -> None:
        super().__init__(keep=stack.name)
        self.labels, self.cloud = stack.labels, stack.lab
        self.upstream, self.deployment, self.host = stack.upstream, stack.deployment, stack.host
        self.secrets = [stack.deployment.password]


@pytest.fixture(scope="session")
def target(deployed: StackUnderTest) -> Target:
    return AdoptedTarget(deployed)


@pytest.fixture
def host(target: Target) -> Host:
    return target.host


@pytest.fixture
def upstream(target: Target) -> Upstream:
    return target.upstream


@pytest.fixture
def mirror(target: Target) -> OciClient:
    return target.mirror()


@pytest.fixture
def registry(target: Target) -> OciClient:
    return target.registry()
