"""What the load tests and the benchmark conclude from what they measured; the runs themselves are in tests/load."""

import hashlib
import json
import socket
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.client import HTTPResponse
from pathlib import Path

import pytest

from loadtests.benchmark.criteria import judge as judge_criteria
from loadtests.benchmark.profiles import FULL, QUICK
from loadtests.benchmark.pull_worker import read_verified
from loadtests.benchmark.report import write_report
from loadtests.benchmark.results import Results
from loadtests.benchmark.testbed import Requests, of_static
from loadtests.support.host import Outage
from loadtests.support.images import Recipe, Tree, zipf
from loadtests.support.metrics import Failure, Record, percentile
from loadtests.support.thresholds import HIT_LATENCY, HIT_RATIO, Outcome, judge


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    tree.add(Recipe("library/one", "1", (0.02, 0.01)))
    return tree


def test_every_file_is_what_its_digest_says(tree: Tree) -> None:
    files = dict(tree.files())
    digests = [path.rsplit("/", 1)[1].partition(".")[0] for path in files if "sha256:" in path]
    contents = [content for path, content in files.items() if "sha256:" in path]
    assert len(digests) >= 6
    assert digests == [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]


def test_index_leads_to_the_layers(tree: Tree) -> None:
    (image,) = tree.images
    files = dict(tree.files())
    index = json.loads(files[f"manifests/{image.digest}.index"])
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "arm64"]
    manifest = json.loads(files[f"manifests/{index['manifests'][0]['digest']}.manifest"])
    wanted = [manifest["config"], *manifest["layers"]]
    assert [(one["digest"], one["size"]) for one in wanted] == list(image.blobs)
    assert all(len(files[f"blobs/{digest}"]) == size for digest, size in image.blobs)
    assert f'"/v2/library/one/manifests/1" "/manifests/{image.digest}.index";' in files["images.conf"].decode()


def test_same_recipe_makes_the_same_bytes(tree: Tree) -> None:
    again = Tree()
    assert again.add(Recipe("library/one", "1", (0.02, 0.01))) == tree.images[0]
    assert again.add(Recipe("library/one", "2", (0.02, 0.01))).blobs != tree.images[0].blobs


def test_only_new_blobs_are_handed_over_again(tree: Tree) -> None:
    known = tree.blobs
    tree.add(Recipe("library/two", "1", (0.03,)))
    paths = [path for path, _content in tree.files(known)]
    assert not any(digest in path for digest in known for path in paths)
    assert sum(path.startswith("blobs/") for path in paths) == len(tree.blobs - known) > 0


def test_popular_images_are_pulled_most() -> None:
    """Zipf's law: the second is pulled half as often as the first, the tenth a tenth as often."""
    images = [str(place) for place in range(1, 11)]
    drawn = Counter(zipf(images, 1.0) for _draw in range(20_000))
    assert drawn["1"] / drawn["2"] == pytest.approx(2, rel=0.15)
    assert drawn["1"] / drawn["10"] == pytest.approx(10, rel=0.25)
    assert len(Counter(zipf(images, 0.0) for _draw in range(1000))) == 10


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 51), (99, 100), (100, 100)])
def test_percentile(percent: int, value: int) -> None:
    assert percentile(range(100, 0, -1), percent) == value
    assert percentile([], percent) is None


def outcome(*statuses: str | None) -> Outcome:
    record = Record()
    for status in statuses:
        record.answer(status, 10, 5.0, small=True)
    return Outcome(record, None, {}, [])


def test_hit_ratio_leaves_out_what_is_never_cached() -> None:
    assert outcome("HIT", "STALE", "MISS", "HIT", None).record.hit_ratio == 0.75


def test_hit_ratio_is_not_known_of_a_mirror_that_does_not_say() -> None:
    assert outcome("", "").record.hit_ratio is None


def test_hit_latency_is_that_of_hits() -> None:
    found = outcome("HIT")
    found.record.answer("MISS", 10, 5000.0, small=True)
    (p50, *_others) = judge(HIT_LATENCY, Namespace(max_hit_p50_ms=10), found)
    assert (p50.measured, p50.kept) == (5.0, True)


def test_wrong_bytes_fail_whatever_the_options() -> None:
    found = outcome("HIT")
    found.record.fail(0, "layer", "wrong bytes", wrong=True)
    judged = {one.name: one.kept for one in judge([], Namespace(), found)}
    assert judged == {"wrong": False}


@pytest.mark.parametrize(("limit", "kept"), [(0.9, False), (0.0, True)])
def test_what_was_not_measured_is_not_kept(limit: float, kept: bool) -> None:
    (ratio, _wrong) = judge([HIT_RATIO], Namespace(min_hit_ratio=limit), outcome(""))
    assert (ratio.measured, ratio.kept) == (None, kept)


@pytest.mark.parametrize(
    ("service", "sent", "failed", "wrong", "explained"),
    [
        ("docker-registry-edge", 9, 10.5, False, True),
        ("docker-registry-edge", 11, 11.1, False, True),
        ("docker-registry-edge", 8, 9.9, False, False),
        ("docker-registry-edge", 12.1, 13, False, False),
        ("docker-registry-edge", 11, 11.1, True, False),
        ("docker-redis", 11, 11.1, False, False),
    ],
)
def test_only_requests_to_the_killed_service_are_excused(
    service: str, sent: float, failed: float, wrong: bool, explained: bool
) -> None:
    outage = Outage(service, killed=10, back=12)
    assert outage.explains(Failure(sent, failed, "layer", "reset", wrong)) is explained


def asked_for(rps: float) -> Requests:
    """A round that came to so many requests per second."""
    return Requests(rps, mb_per_s=1.0, p50_ms=1.0, p99_ms=2.0, requests=1, bad=0)


def test_a_slow_moment_of_the_machine_is_no_ones_loss() -> None:
    static = [asked_for(rps) for rps in (1000, 200, 1000)]
    edge = [asked_for(rps) for rps in (900, 180, 100)]
    assert of_static(edge, static)["rps_of_static"] == 0.9


def measured() -> Results:
    """A run in which the edge is as fast as nginx with tags, half as fast with digests, and little else was done."""
    results = Results("quick", {"processor": "one of a test"}, {"edge": "nginx/1, registry 2.8.3"})
    asked = {
        "nginx static": {"tag": 1000.0, "digest": 1000.0},
        "edge": {"tag": 1000.0, "digest": 500.0},
        "proxy 2.8": {"tag": 5.0, "digest": 50.0},
    }
    for contender, rates in asked.items():
        for request, rps in rates.items():
            row = asdict(asked_for(rps)) | {"clients": 16, "upstream": "0 ms"}
            row |= of_static([asked_for(rps)], [asked_for(asked["nginx static"][request])])
            results.add("headline", contender=contender, request=request, **row)
    judge_criteria(results, QUICK)
    return results


def test_criteria_are_kept_missed_or_not_measured() -> None:
    found = {one.name: (one.measured, one.kept) for one in measured().criteria}
    assert found["1 tag hit, requests per second of nginx static"] == (1.0, True)
    assert found["1 tag hit, requests per second of the bare 2.8 proxy"] == (200.0, True)
    assert found["2 digest hit, requests per second of nginx static"] == (0.5, False)
    assert found["2 64 MiB blob, throughput of nginx static"] == (None, False)
    assert found["5 upstream killed: failed pulls and requests"] == (None, False)


def test_report_shows_what_was_missed(tmp_path: Path) -> None:
    write_report(measured(), QUICK, [("plot.png", "a plot")], tmp_path / "docs/performance.md")
    text = (tmp_path / "docs/performance.md").read_text()
    assert "| 2 digest hit, requests per second of nginx static | ≥ 0.9× | 0.5× | **no** |  |" in text
    assert "| 2 64 MiB blob, throughput of nginx static | ≥ 0.95× | not measured | **no** |  |" in text
    assert "| proxy 2.8 | 5 | 1 | 2 | 0 | 0.005× |" in text
    assert "- processor: one of a test" in text
    assert "![a plot](plot.png)" in text


def test_full_run_has_the_thousand_pulls() -> None:
    assert tuple(FULL.pulls) == (1, 10, 30, 50, 100)
    assert sum(FULL.pulls.values()) == 1000


@pytest.fixture
def answer() -> Iterator[Callable[[int], HTTPResponse]]:
    """`answer(10)`: one that promises ten bytes, and ends after three."""
    server, client = socket.socketpair()
    with server, client:

        def answer(promised: int) -> HTTPResponse:
            server.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\nabc".encode())
            server.shutdown(socket.SHUT_WR)
            response = HTTPResponse(client)
            response.begin()
            return response

        yield answer


def test_herd_hashes_what_came(answer: Callable[[int], HTTPResponse]) -> None:
    assert read_verified(answer(3), keep=True) == (b"abc", f"sha256:{hashlib.sha256(b'abc').hexdigest()}")


def test_what_was_cut_off_is_not_wrong_bytes(answer: Callable[[int], HTTPResponse]) -> None:
    with pytest.raises(OSError, match="cut off after 3 of 10 bytes"):
        read_verified(answer(10), keep=True)
