"""One deployment for a run, or for each of its workers, removed at its end whatever happens. Every test leaves it as it
was."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine
from tests.host.metrics import wait_until_served
from tests.host.targets import LocalTarget, Target, collect_deployments
from tests.support.collection import below
from tests.support.deadlines import scaled
from tests.support.evidence import Evidence
from tests.support.oci import OciClient
from tests.support.state import own_state
from tests.support.upstream import Upstream

EVIDENCE = pytest.StashKey[Evidence]()
TARGET = pytest.StashKey[Target]()
STATE = pytest.StashKey[Path]()
# Names of machines that a test has booted by itself.
MACHINES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    missing = [name for name in ("--environment", "--ssh-key", "--here") if not config.getoption(name)]
    if missing and config.getoption("--target") == "cloud":
        raise pytest.UsageError(f"--target cloud needs {', '.join(missing)} as well: see pytest tests/host --help")
    config.stash[EVIDENCE] = Evidence("host")
    config.stash[MACHINES] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    local, ours = config.getoption("--target") == "local", below(__file__, items)
    for item in ours:
        # Not the fixtures: the first one may have to build the images.
        item.add_marker(pytest.mark.timeout(scaled(240 if local else 900), func_only=True))
    if not local:
        # Tests that boot further hosts do so on the engine here, whatever the target: they run for `local` only.
        others = {item for item in ours if "target" not in getattr(item, "fixturenames", ())}
        config.hook.pytest_deselected(items=list(others))
        items[:] = [item for item in items if item not in others]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    report = yield
    if report.failed:
        folder = item.config.stash[EVIDENCE].keep(f"{item.name}-{report.when}", partial(_collect, item.config))
        report.sections.append(("logs", folder))
    return report


def _collect(config: pytest.Config, folder: Path) -> None:
    """The evidence of the host under test and of what the tests have deployed besides."""
    if TARGET in config.stash:
        config.stash[TARGET].collect(folder)
    if STATE in config.stash:
        collect_deployments(config.stash[STATE], folder)
    for machine in filter(None, (Machine.find(engine(), name) for name in config.stash[MACHINES])):
        machine.collect(folder / machine.name)


@pytest.fixture(scope="session", autouse=True)
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with own_state(request.config.getoption("--keep"), tmp_path_factory) as folder:
        request.config.stash[STATE] = folder
        yield folder


def _chosen(option: Callable[[str], Any], state: Path) -> Target:
    """The target that the options name."""
    kind, keep = option("--target"), option("--keep")
    if kind == "local":
        return LocalTarget(state, keep)
    # It needs SSH, which an environment for the local target has not.
    from tests.host.stack_targets import CloudTarget, GivenCloud, LabTarget

    if kind == "lab":
        return LabTarget(keep)
    environments, key = [Path(one) for one in option("--environment")], Path(option("--ssh-key"))
    return CloudTarget(
        GivenCloud(option("--os-cloud"), environments, key, option("--ssh-user"), option("--here")), keep
    )


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, state: Path) -> Iterator[Target]:
    target = _chosen(request.config.getoption, state)
    request.config.stash[TARGET] = target
    try:
        target.start()
        yield target
    except BaseException:
        request.config.stash[EVIDENCE].keep("deploy", partial(_collect, request.config))
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


@pytest.fixture(scope="module")
def quick_metrics(target: Target) -> Iterator[None]:
    """The host counts and looks every second, not every ten or sixty."""
    folder = "/run/systemd/system/registry-metrics.service.d"
    settings = "[Service]\nEnvironment=METRICS_INTERVAL=1 SLOW_METRICS_INTERVAL=1\n"
    restart = "systemctl daemon-reload && systemctl restart registry-metrics"
    # The sizes of the caches are kept for minutes, also those of a test before.
    target.host.check_output("rm -f /run/registry/metrics/size-* && mkdir -p %s", folder)
    target.write(f"{folder}/quick.conf", settings.encode())
    target.host.check_output(restart)
    wait_until_served(target.host)
    yield
    target.host.check_output(f"rm -r {folder} && {restart}")
