"""The benchmark's pull worker verifies what it pulls. It runs here on the machine that is also its upstream."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from loadtests.benchmark.testbed import WORKER_COMMAND, install_pull_worker
from loadtests.support.fake_upstream import CERTIFICATE, URL, FakeUpstream
from loadtests.support.images import Image, Recipe

Pull = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def image(upstream: FakeUpstream, request: pytest.FixtureRequest) -> Image:
    name = request.node.name.replace("_", "-")
    return upstream.add([Recipe(f"library/{name}", "1", (1.0, 0.3, 0.2, 0.1))])[0]


@pytest.fixture
def pull(upstream: FakeUpstream, image: Image) -> Pull:
    """`pull("--option=1", …)`: the results that the worker prints."""
    install_pull_worker(upstream.machine)

    def pull(*options: str, url: str = URL) -> list[dict[str, Any]]:
        command = [*WORKER_COMMAND, *options, url, CERTIFICATE, image.repo, image.reference]
        return [json.loads(line) for line in upstream.machine.exec(command, timeout=60).out.splitlines()]

    return pull


def test_clients_share_the_pulls(upstream: FakeUpstream, image: Image, pull: Pull) -> None:
    upstream.reset_counters()
    results = pull("--clients=3", "--pulls=7")
    assert len(results) == 7
    assert all(result["seconds"] > 0 for result in results)
    counters = upstream.counters()
    # A config and four layers each.
    assert counters["blob_get"] == 7 * 5
    assert counters["manifest_head"] == 7
    assert counters["bytes"] > 7 * image.size


def test_clients_pull_repeatedly(pull: Pull) -> None:
    results = pull("--clients=2", "--seconds=1")
    assert len(results) > 2
    assert all("seconds" in result for result in results)


def test_wrong_bytes_are_reported(upstream: FakeUpstream, image: Image, pull: Pull) -> None:
    upstream.corrupt(image)
    (result,) = pull()
    assert result["wrong"]
    assert image.layers[-1].digest in result["failed"]


def test_refusal_is_not_wrong_bytes(upstream: FakeUpstream, pull: Pull) -> None:
    upstream.inject(status=429)
    try:
        (result,) = pull()
    finally:
        upstream.clear_faults()
    assert not result["wrong"]
    assert "HTTP 429" in result["failed"]


def test_next_member_of_a_group_is_asked(pull: Pull) -> None:
    """Half of the clients have the one first where nobody listens."""
    results = pull("--clients=2", "--pulls=4", url=f"https://localhost:9,{URL}")
    assert len(results) == 4
    assert all("seconds" in result for result in results)
