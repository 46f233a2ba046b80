"""The run, its hosts, its Swift and its upstreams: each started once, when the first test needs it."""

import os
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

import docker
import pytest
from testcontainers.core.config import testcontainers_config

from registry_stack.docker.engine import engine
from registry_stack.images.pull import Outcome, present, pull
from registry_stack.progress import no_progress
from tests.integration.host import EDGE, FETCH, PROXY, REDIS, REGISTRY, Host, MakeHost
from tests.integration.registries import TTL_S, Ask, asking
from tests.integration.session import Run
from tests.integration.swift import Swift
from tests.support.personalities import MIRRORED, Personalities, parameters
from tests.support.upstream import Upstream

_RUN = pytest.StashKey[Run]()


@pytest.fixture(scope="session")
def this_run(request: pytest.FixtureRequest) -> Iterator[Run]:
    client = engine()
    _do_without_ryuk(client)
    run = Run(client)
    request.config.stash[_RUN] = run
    yield run
    run.remove()


def _do_without_ryuk(client: docker.DockerClient) -> None:
    """Its reaper is a second net; where its image cannot be had, our own cleaning up is the only one."""
    image = testcontainers_config.ryuk_image
    if not present(client, image) and pull(client, image, no_progress)[0] is not Outcome.PULLED:
        os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"


@pytest.fixture(scope="session")
def swift(this_run: Run) -> Swift:
    return Swift(this_run)


@pytest.fixture(scope="module")
def make_host(this_run: Run) -> Iterator[MakeHost]:
    """Boots a host for one module: the kernel lets a user watch files 128 times, of which each host takes its share."""
    made: list[Host] = []

    def make(name: str, **parameters: Any) -> Host:
        made.append(Host(this_run, name, **parameters))
        return made[-1]

    yield make
    for host in made:
        this_run.remove_network(host.network)


@pytest.fixture(scope="session")
def make_shared_host(this_run: Run) -> MakeHost:
    """Boots a host for the whole run."""
    return partial(Host, this_run)


@pytest.fixture(scope="session")
def make_storing_host(make_shared_host: MakeHost, swift: Swift) -> MakeHost:
    """Boots a host for the whole run that reaches Swift by its name."""

    def make(name: str, **parameters: Any) -> Host:
        host = make_shared_host(name, **parameters)
        swift.connect(host.network)
        return host

    return make


@pytest.fixture(scope="session")
def mirror(make_shared_host: MakeHost) -> Host:
    """A host with a mirror only."""
    return make_shared_host("mirror", upstream_url="http://upstream.test:5000", tag_ttl_seconds=2).start(
        REDIS, EDGE, FETCH, PROXY
    )


@pytest.fixture(scope="session")
def upstream(this_run: Run, mirror: Host) -> Upstream:
    """The upstream of that host."""
    return Upstream.start(this_run.client, mirror.network.name, this_run.labels)


@pytest.fixture(scope="session")
def personalities_host(make_shared_host: MakeHost) -> Host:
    """A host that mirrors a registry of each habit."""
    return make_shared_host("personalities", tag_ttl_seconds=TTL_S, **parameters())


@pytest.fixture(scope="session")
def personalities(this_run: Run, personalities_host: Host) -> Personalities:
    """These registries."""
    found = Personalities.start(this_run.client, personalities_host.network.name, this_run.labels)
    personalities_host.start(REDIS, EDGE, FETCH, PROXY, *(f"{PROXY}@{name}" for name in MIRRORED))
    return found


@pytest.fixture
def ask(personalities_host: Host, personalities: Personalities) -> Ask:
    """`ask(registry, path)`: what the mirror answers for a registry, selected by ns=."""
    return asking(personalities_host)


@pytest.fixture(scope="session")
def swift_host(make_storing_host: MakeHost, swift: Swift) -> Host:
    return make_storing_host("swift", **swift.parameters("docker_registry")).start(REDIS, REGISTRY, EDGE)


@pytest.fixture(scope="session")
def s3_host(make_storing_host: MakeHost, swift: Swift) -> Host:
    return make_storing_host("s3", **swift.s3_parameters("bucket")).start(REDIS, REGISTRY, EDGE)


@pytest.fixture(scope="session")
def filesystem_host(make_shared_host: MakeHost) -> Host:
    return make_shared_host("filesystem", storage_driver="filesystem").start(REDIS, REGISTRY, EDGE)


@pytest.fixture(scope="session", params=["filesystem", "swift", "s3"])
def push_host(request: pytest.FixtureRequest) -> Host:
    """A host with a push registry, on each storage."""
    host: Host = request.getfixturevalue(f"{request.param}_host")
    return host


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the logs of a failed test's containers while they are there."""
    report = yield
    run = item.config.stash.get(_RUN, None)
    if report.failed and run is not None:
        report.sections.append(("logs", str(run.collect(f"{item.name}-{report.when}"))))
    return report
