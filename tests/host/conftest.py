"""One deployment for the whole suite, removed at the end whatever happens; every test leaves it as it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.host.targets import LocalTarget, Target
from tests.support.evidence import Evidence
from tests.support.oci import OciClient
from tests.support.upstream import Upstream

EVIDENCE = pytest.StashKey[Evidence]()
TARGET = pytest.StashKey[Target]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("host", "the host under test")
    group.addoption("--target", default="local", choices=["local"], help="where the host runs")
    group.addoption(
        "--keep", default="", metavar="NAME", help="work on deployment NAME, made if need be, and leave it"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[EVIDENCE] = Evidence("host")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Not the fixtures: the first one may have to build the images.
        item.add_marker(pytest.mark.timeout(240, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    report = yield
    target = item.config.stash.get(TARGET, None)
    if report.failed and target is not None:
        item.config.stash[EVIDENCE].keep(f"{item.name}-{report.when}", target.collect)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    summary = config.stash[EVIDENCE].summary()
    if summary:
        terminalreporter.write_line(summary)


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    keep = str(request.config.getoption("--keep"))
    folder = Path("/tmp/registry-stack-tests") / keep if keep else tmp_path_factory.mktemp("host")
    target = LocalTarget(folder, keep)
    request.config.stash[TARGET] = target
    try:
        target.start()
        yield target
    except BaseException:
        request.config.stash[EVIDENCE].keep("deploy", target.collect)
        raise
    finally:
        target.remove()


@pytest.fixture(scope="session")
def host(target: Target) -> Host:
    return target.host


@pytest.fixture(scope="session")
def upstream(target: Target) -> Upstream:
    return target.upstream


@pytest.fixture
def mirror(target: Target) -> OciClient:
    return target.mirror()


@pytest.fixture
def registry(target: Target) -> OciClient:
    return target.registry()
