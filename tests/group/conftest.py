"""One group for a run, removed at its end whatever happens. Every test leaves it as it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.group.members import Group
from tests.support.collection import below
from tests.support.deadlines import scaled
from tests.support.evidence import Evidence
from tests.support.state import own_state

_EVIDENCE = pytest.StashKey[Evidence]()
_GROUP = pytest.StashKey[Group]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_EVIDENCE] = Evidence("group")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in below(__file__, items):
        # Not the fixtures: the first one may have to build the images.
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(scaled(300), func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    report = yield
    group = item.config.stash.get(_GROUP, None)
    if report.failed and group is not None:
        report.sections.append(("logs", item.config.stash[_EVIDENCE].keep(f"{item.name}-{report.when}", group.collect)))
    return report


@pytest.fixture(scope="session", autouse=True)
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with own_state(request.config.getoption("--keep"), tmp_path_factory) as folder:
        yield folder


@pytest.fixture(scope="session")
def group(request: pytest.FixtureRequest, state: Path) -> Iterator[Group]:
    group = Group(request.config.getoption("--keep"))
    request.config.stash[_GROUP] = group
    try:
        group.start()
        yield group
    finally:
        group.remove()
