"""What the load tests and the benchmark conclude from their measurements; tests/load runs them."""

import hashlib
import json
from argparse import Namespace
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtests.benchmark.group_testbed import LoadFigures
from loadtests.benchmark.performance_targets import check_targets
from loadtests.benchmark.profiles import FULL, QUICK
from loadtests.benchmark.report import write_report
from loadtests.benchmark.results import Results
from loadtests.benchmark.testbed import ROOT, RequestFigures, relative_figures
from loadtests.support.fault_injection import Outage
from loadtests.support.images import Recipe, RegistryFiles, choose_zipf
from loadtests.support.metrics import Failure, Metrics, percentile
from loadtests.support.options import parse_images
from loadtests.support.registry.protocol import RequestError, Response, WrongBytesError, ask_in_turn
from loadtests.support.thresholds import HIT_LATENCY, HIT_RATIO, Outcome, Threshold, judge, verdict_of_all
from registry_stack.errors import RegistryStackError


@pytest.fixture
def files() -> RegistryFiles:
    files = RegistryFiles()
    files.add(Recipe("library/one", "1", (0.02, 0.01)))
    return files


def test_file_names_are_digests(files: RegistryFiles) -> None:
    named = {path.rsplit("/", 1)[1].partition(".")[0]: content for path, content in files.items() if "sha256:" in path}
    assert len(named) >= 6
    assert all(digest == f"sha256:{hashlib.sha256(content).hexdigest()}" for digest, content in named.items())


def test_index_leads_to_the_layers(files: RegistryFiles) -> None:
    (image,) = files.images
    contents = dict(files.items())
    index = json.loads(contents[f"manifests/{image.index_digest}.index"])
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    assert index["manifests"][0]["digest"] == image.digest
    manifest = json.loads(contents[f"manifests/{image.digest}.manifest"])
    descriptors = [manifest["config"], *manifest["layers"]]
    assert [(one["digest"], one["size"]) for one in descriptors] == [(blob.digest, blob.size) for blob in image.blobs]
    assert all(len(contents[f"blobs/{blob.digest}"]) == blob.size for blob in image.blobs)
    assert f'"/v2/library/one/manifests/1" "/manifests/{image.index_digest}.index";' in contents["images.conf"].decode()


def test_same_recipe_makes_the_same_bytes(files: RegistryFiles) -> None:
    again = RegistryFiles()
    assert again.add(Recipe("library/one", "1", (0.02, 0.01))) == files.images[0]
    assert again.add(Recipe("library/one", "2", (0.02, 0.01))).blobs != files.images[0].blobs


def test_known_blobs_are_not_uploaded_again(files: RegistryFiles) -> None:
    known = files.blobs
    files.add(Recipe("library/two", "1", (0.03,)))
    paths = [path for path, _content in files.items(known)]
    assert not any(digest in path for digest in known for path in paths)
    assert sum(path.startswith("blobs/") for path in paths) == len(files.blobs - known) > 0


def test_popular_images_are_pulled_most() -> None:
    """Zipf's law: the second image is pulled half as often as the first, the tenth a tenth as often."""
    images = [str(place) for place in range(1, 11)]
    drawn = Counter(choose_zipf(images, 1.0) for _draw in range(20_000))
    assert drawn["1"] / drawn["2"] == pytest.approx(2, rel=0.15)
    assert drawn["1"] / drawn["10"] == pytest.approx(10, rel=0.25)
    assert len(Counter(choose_zipf(images, 0.0) for _draw in range(1000))) == 10


def test_images_of_the_command_line() -> None:
    assert parse_images("library/a:1, b:2,", "pull", 1) == ["library/a:1", "b:2"]
    assert parse_images("", "cold_herd", 2) == []
    with pytest.raises(RegistryStackError, match="cold_herd needs at least 2"):
        parse_images("library/a:1", "cold_herd", 2)


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 51), (99, 100), (100, 100)])
def test_percentile(percent: int, value: int) -> None:
    assert percentile(range(100, 0, -1), percent) == value
    assert percentile([], percent) is None


def outcome(*cache_statuses: str | None) -> Outcome:
    metrics = Metrics()
    for cache_status in cache_statuses:
        metrics.record_response(cache_status, 10, 5.0, "manifest by tag")
    return Outcome(metrics, None, {}, [])


def test_hit_ratio_ignores_uncacheable_responses() -> None:
    assert outcome("HIT", "STALE", "MISS", "HIT", None).metrics.hit_ratio == 0.75


def test_hit_ratio_is_unknown_without_cache_headers() -> None:
    assert outcome("", "").metrics.hit_ratio is None


def test_hit_latency_ignores_misses() -> None:
    run = outcome("HIT")
    run.metrics.record_response("MISS", 10, 5000.0, "config")
    (p50, *_others) = judge(HIT_LATENCY, Namespace(max_hit_p50_ms=10), run)
    assert (p50.measured, p50.passed) == (5.0, True)


@pytest.mark.parametrize(
    ("late_ms", "limit", "passed", "whole"),
    [(1.2, 10, True, True), (1.2, 1, False, False), (1.3, 10, None, None), (1.3, 1, None, None)],
)
def test_latency_that_is_mostly_the_clients_gets_no_verdict(
    late_ms: float, limit: float, passed: bool | None, whole: bool | None
) -> None:
    run = outcome("HIT")
    run.metrics.late_ms.append(late_ms)
    verdicts = judge(HIT_LATENCY[:1], Namespace(max_hit_p50_ms=limit), run)
    assert (verdicts[0].measured, verdicts[0].passed) == (5.0, passed)
    assert verdict_of_all(verdicts) is whole


@pytest.mark.parametrize(("share", "passed"), [(0.5, None), (0.9, True)])
def test_load_that_the_client_did_not_make_gives_no_verdict(share: float, passed: bool | None) -> None:
    threshold = Threshold("min-share", 0.9, "share", lambda _run: share, at_most=False, of_client=True)
    assert verdict_of_all(judge([threshold], Namespace(min_share=0.9), outcome("HIT"))) is passed


def test_violated_threshold_counts_more_than_a_missing_verdict() -> None:
    run = outcome("HIT")
    run.metrics.late_ms.append(100)
    run.metrics.record_failure(0, "layer", "wrong bytes", wrong=True)
    assert verdict_of_all(judge(HIT_LATENCY, Namespace(), run)) is False


def test_wrong_bytes_fail_a_run_without_thresholds() -> None:
    run = outcome("HIT")
    run.metrics.record_failure(0, "layer", "wrong bytes", wrong=True)
    assert {verdict.name: verdict.passed for verdict in judge([], Namespace(), run)} == {"wrong": False}


@pytest.mark.parametrize(("limit", "passed"), [(0.9, False), (0.0, True)])
def test_unmeasured_figure_violates_its_threshold(limit: float, passed: bool) -> None:
    (ratio, _wrong) = judge([HIT_RATIO], Namespace(min_hit_ratio=limit), outcome(""))
    assert (ratio.measured, ratio.passed) == (None, passed)


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
def test_outage_explains_only_failures_of_its_service(
    service: str, sent: float, failed: float, wrong: bool, explained: bool
) -> None:
    outage = Outage(service, killed=10, recovered=12)
    assert outage.explains(Failure(sent, failed, "layer", "reset", wrong)) is explained


@pytest.mark.parametrize(
    ("failed_at", "explained"), [({"a"}, True), ({"b"}, False), ({"a", "b"}, False), (set(), True)]
)
def test_outage_of_a_member_explains_only_what_failed_there(failed_at: set[str], explained: bool) -> None:
    outage = Outage("docker-registry", killed=10, recovered=12, urls=frozenset({"a"}))
    assert outage.explains(Failure(11, 11.1, "push: blob", "reset", urls=frozenset(failed_at))) is explained


@pytest.mark.parametrize(
    ("answers", "asked", "error"),
    [
        ({"a": None, "b": None}, ["a"], ""),
        ({"a": RequestError("HTTP 502"), "b": None}, ["a", "b"], ""),
        ({"a": RequestError("HTTP 502"), "b": RequestError("reset")}, ["a", "b"], "reset"),
        ({"a": WrongBytesError("wrong bytes"), "b": None}, ["a"], "wrong bytes"),
    ],
)
def test_members_of_a_group_are_asked_until_one_answers(
    answers: dict[str, RequestError | None], asked: list[str], error: str
) -> None:
    def ask(url: str) -> Response:
        if failure := answers[url]:
            raise failure
        return Response({}, url, 0, b"")

    seen: list[str] = []
    with pytest.raises(RequestError, match=error) if error else nullcontext():
        assert ask_in_turn(answers, ask, seen).digest == asked[-1]
    assert seen == asked


def figures(rps: float) -> RequestFigures:
    """One round at this rate."""
    return RequestFigures(rps, mb_per_s=1.0, p50_ms=1.0, p99_ms=2.0, requests=1, errors=0)


def test_ratios_are_paired_per_round() -> None:
    static = [figures(rps) for rps in (1000, 200, 1000)]
    mirror = [figures(rps) for rps in (900, 180, 100)]
    assert relative_figures(mirror, static)["rps_of_static"] == 0.9


def test_load_of_a_group_counts_pulls_and_pushes() -> None:
    figures = LoadFigures()
    for line in (
        {"kind": "pull", "failed": "", "wrong": False, "failovers": 2},
        {"kind": "pull", "failed": "HTTP 502", "wrong": False, "failovers": 0},
        {"kind": "push", "failures": [], "pushed": ["a", "1", "sha256:1"]},
        {"kind": "push", "failures": ["reset"], "pushed": ["a", "2", "sha256:2"]},
        {"kind": "push", "failures": ["reset", "HTTP 503"], "pushed": None},
    ):
        figures.add(line)
    row = figures.row()
    assert (row["pulls"], row["failed"], row["failovers"]) == (2, 1, 2)
    assert (row["pushes"], row["pushes_failed"], row["pushes_failed_twice"]) == (3, 2, 1)
    assert row["reasons"] == ["HTTP 502", "reset", "HTTP 503"]
    assert [tag for _repo, tag, _digest in figures.pushed] == ["1", "2"]


@pytest.fixture
def results() -> Results:
    """A run in which the mirror was as fast as nginx with tags and half as fast with digests, and little else."""
    machine = {"processor": "a test's", "cores": "2"}
    results = Results("quick", machine, {"mirror": "nginx/1, registry 2.8.3"})
    rates = {
        "nginx static": {"tag": 1000.0, "digest": 1000.0},
        "mirror": {"tag": 1000.0, "digest": 500.0},
        "registry 2.8 proxy": {"tag": 5.0, "digest": 50.0},
    }
    for system, by_request in rates.items():
        for request, rps in by_request.items():
            row = asdict(figures(rps)) | {"clients": 16, "upstream": "0 ms"}
            row |= relative_figures([figures(rps)], [figures(rates["nginx static"][request])])
            results.add("headline", system=system, request=request, **row)
    check_targets(results, QUICK)
    return results


def test_targets_are_met_missed_or_not_measured(results: Results) -> None:
    targets = {target.name: (target.measured, target.met) for target in results.targets}
    assert targets["tag: rate vs nginx static"] == (1.0, True)
    assert targets["tag: rate vs bare registry 2.8 proxy"] == (200.0, True)
    assert targets["digest: rate vs nginx static"] == (0.5, False)
    assert targets["64 MiB blob: throughput vs nginx static"] == (None, False)
    assert targets["upstream killed: failed pulls and requests"] == (None, False)


def test_groups_have_targets_where_they_were_measured(results: Results) -> None:
    assert not any(target.name.startswith("group") for target in results.targets)
    for members, failed in ((1, 7), (2, 1)):
        herd = {"upstream_ratio": 1.01, "failed": 0}
        results.add("group herds", members=members, clients=100, **herd)
        results.add("group faults", members=members, fault="killed", pulls=9, failed=failed, pushes=3, lost=0)
    check_targets(results, QUICK)
    found = {target.name: target.met for target in results.targets if target.name.startswith(("group", "single"))}
    assert found == {
        "single host with a Swift: upstream bytes of a cold image for 100 clients": True,
        "group of 2: upstream bytes of a cold image for 100 clients": True,
        "single host with a Swift, all faults: acknowledged pushes that are lost": True,
        "group of 2, all faults: failed pulls": False,
        "group of 2, all faults: acknowledged pushes that are lost": True,
    }


def test_report_shows_targets_figures_and_plots(results: Results, tmp_path: Path) -> None:
    results.problems["docker"] = "no route"
    write_report(results, QUICK, [("plot.png", "a plot")], tmp_path / "docs/performance.md")
    text = (tmp_path / "docs/performance.md").read_text()
    assert "On two cores the mirror answers tags at 1.00x the rate of nginx serving static files and 200x that" in text
    assert "| digest: rate vs nginx static | ≥ 0.9× | 0.5× | **no** |  |" in text
    assert "| 64 MiB blob: throughput vs nginx static | ≥ 0.95× | not measured | **no** |  |" in text
    assert "| registry 2.8 proxy | 5 | 1 | 2 | 0 | 0.005 |" in text
    assert "- processor: a test's\n" in text
    assert '\n\n- The stage "docker" was aborted: no route\n\n## ' in text
    assert "![a plot](plot.png)" in text


def test_committed_report_is_that_of_its_json(tmp_path: Path) -> None:
    """Nobody has edited docs/performance.md by hand, or changed its template without writing it again."""
    saved = json.loads((ROOT / "docs/performance.json").read_text())
    results = Results(saved["profile"], saved["machine"], saved["versions"], saved["rows"], saved["problems"])
    check_targets(results, FULL)
    assert [asdict(target) for target in results.targets] == saved["targets"]
    committed = (ROOT / "docs/performance.md").read_text()
    write_report(results, FULL, [], tmp_path / "performance.md")
    assert committed.startswith((tmp_path / "performance.md").read_text())


def test_full_profile_pulls_a_thousand_times() -> None:
    assert tuple(FULL.pulls) == (1, 10, 30, 50, 100)
    assert sum(FULL.pulls.values()) == 1000
