"""The benchmark's own client: it verifies, and says what was wrong. Its upstream is also the machine it runs on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtests.benchmark import pull_worker
from loadtests.support.fake_upstream import URL, FakeUpstream
from loadtests.support.images import ACCEPT, Image, Recipe

Herd = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def image(standin: FakeUpstream, request: pytest.FixtureRequest) -> Image:
    name = request.node.name.replace("_", "-")
    return standin.add([Recipe(f"library/{name}", "1", (1.0, 0.3, 0.2, 0.1))])[0]


@pytest.fixture
def pull(standin: FakeUpstream, image: Image) -> Herd:
    """`pull("--option=1", …)`: the lines that were said."""
    standin.machine.put("/herd.py", Path(pull_worker.__file__))

    def pull(*options: str) -> list[dict[str, Any]]:
        command = ["python3", "/herd.py", *options, URL, "/srv/tls/upstream.crt", ACCEPT, image.repo, image.tag]
        return [json.loads(line) for line in standin.machine.exec(command, timeout=60).out.splitlines()]

    return pull


def test_pulls_are_shared_and_whole(standin: FakeUpstream, image: Image, pull: Herd) -> None:
    standin.reset()
    said = pull("--clients=3", "--pulls=7")
    assert len(said) == 7
    assert all(one["seconds"] > 0 for one in said)
    counted = standin.counters()
    # A config and four layers each.
    assert counted["blob_get"] == 7 * 5
    assert counted["manifest_head"] == 7
    assert counted["bytes"] > 7 * image.size


def test_pulls_again_for_so_long(pull: Herd) -> None:
    said = pull("--clients=2", "--seconds=1")
    assert len(said) > 2
    assert all("seconds" in one for one in said)


def test_wrong_bytes_are_noticed(standin: FakeUpstream, image: Image, pull: Herd) -> None:
    standin.corrupt(image)
    (said,) = pull()
    assert said["wrong"]
    assert image.blobs[-1][0] in said["failed"]


def test_refusal_is_not_wrong_bytes(standin: FakeUpstream, pull: Herd) -> None:
    standin.behave(status=429)
    try:
        (said,) = pull()
    finally:
        standin.behave()
    assert not said["wrong"]
    assert "HTTP 429" in said["failed"]
