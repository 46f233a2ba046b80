"""One lab for the suite, and one stack on it that most tests look at or change."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.stack.stack_under_test import StackUnderTest
from tests.support.evidence import Evidence
from tests.support.lab import UsedLab, used_lab

EVIDENCE = pytest.StashKey[Evidence]()
WORLD = pytest.StashKey[StackUnderTest]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[EVIDENCE] = Evidence("stack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Of which one emulated boot may take five.
        item.add_marker(pytest.mark.timeout(1200))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    report = yield
    if report.failed and WORLD in item.config.stash:
        world = item.config.stash[WORLD]
        item.config.stash[EVIDENCE].keep(f"{item.name}-{report.when}", partial(StackUnderTest.collect, world))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    summary = config.stash[EVIDENCE].summary()
    if summary:
        terminalreporter.write_line(summary)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsedLab]:
    """The lab, and a place of our own for what the commands remember, not the user's."""
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
    """With its stack: the first `deploy` is interrupted halfway, the second goes on with it."""
    world.deploy_interrupted()
    return world
