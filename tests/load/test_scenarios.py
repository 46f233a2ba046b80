"""Each load test, small and short: it passes on a working mirror and fails at a violated threshold or wrong bytes."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.images import Recipe
from loadtests.support.mirror import Mirror
from registry_stack.targets.local.rollout import UNITS
from tests.load.conftest import PATIENT, PATIENT_P99, PATIENT_PULL, ROOT, SCALE, Runner
from tests.load.slow_proxy import SlowProxy


def test_pull_passes(run: Runner, mirror: Mirror) -> None:
    ran = run("pull", *PATIENT_PULL, *PATIENT_P99)
    assert ran.code == 0, ran.output
    assert ran.summary["passed"]
    assert ran.summary["pulls"] > len(mirror.images)
    assert {"p50", "p95", "p99"} == set(ran.summary["ms"]["tag hit"]) == set(ran.summary["late_ms"])
    assert ran.summary["failed"] == ran.summary["wrong"] == 0
    assert ran.summary["hit_ratio"] >= 0.9
    assert {"p50", "p95", "p99"} == set(ran.summary["ms"]["pull"])
    assert "Locust" in (run.folder / "report.html").read_text()


def test_pull_fails_at_an_impossible_threshold(run: Runner) -> None:
    ran = run("pull", *PATIENT_PULL, "--max-hit-p99-ms", "0.001", seconds=4)
    assert ran.code == 1
    assert ran.violated() == {"max-hit-p99-ms"}
    assert "FAILED" in ran.output


def test_pull_says_so_when_the_load_is_too_much_for_the_client(run: Runner) -> None:
    """A latency of which most is the client's wait for its own processor is not judged, whatever the limit."""
    limits = ("--max-hit-p50-ms", "0.001", "--max-hit-p95-ms", "0.001", "--min-pulls", "0")
    ran = run("pull", "--rate", "1000", *limits, *PATIENT_P99, users=30, seconds=6)
    assert ran.code == 3, ran.output
    assert "NO VERDICT: this client was itself late" in ran.output
    assert ran.summary["passed"] is None
    assert ran.violated() == set()


def test_slow_mirror_is_reported_as_slow_as_it_is(run: Runner, mirror: Mirror) -> None:
    """The same run twice, the second through a proxy that adds a delay, of many times what the first measured."""
    assert mirror.deployment is not None
    with SlowProxy(urlsplit(mirror.url).port or 443).serving() as proxy:
        there = ("--host", f"https://localhost:{proxy.port}", "--ca", mirror.ca_file)
        arguments = (*there, *PATIENT_PULL, *PATIENT_P99, "--full", "0.05", "--min-pulls", "0")
        quick = run("pull", *arguments, users=20)
        added_ms = max(50.0, 10 * quick.summary["ms"]["tag hit"]["p50"])
        proxy.delay_s = added_ms / 1000
        slow = run("pull", *arguments, users=20)
    assert quick.code == slow.code == 0, slow.output
    measured_ms = slow.summary["ms"]["tag hit"]["p50"] - quick.summary["ms"]["tag hit"]["p50"]
    assert 0.9 * added_ms < measured_ms < 1.5 * added_ms


def test_throughput_passes(run: Runner) -> None:
    ran = run("throughput")
    assert ran.code == 0, ran.output
    assert ran.summary["pulls"] > 0
    assert not any("latency" in one["what"] for one in ran.summary["thresholds"])


def test_pull_detects_wrong_bytes(run: Runner, upstream: FakeUpstream) -> None:
    """Straight from the corrupt upstream, without a mirror that would detect them first."""
    (image,) = upstream.add([Recipe("library/corrupt", "1", (0.5, 0.2))])
    upstream.corrupt(image)
    arguments = (
        "--host",
        upstream.url,
        "--images",
        image.name,
        "--cold",
        *PATIENT_PULL,
        *PATIENT_P99,
        "--min-hit-ratio",
        "0",
    )
    ran = run("pull", *arguments, seconds=4)
    assert ran.code == 1
    assert {"wrong", "max-failures", "min-pulls"} == ran.violated(), ran.output
    assert ran.summary["wrong"] > 0
    assert any("wrong bytes" in reason for reason in ran.summary["reasons"])


def test_pull_through_a_mirror_of_a_corrupt_upstream_fails(run: Runner, upstream: FakeUpstream) -> None:
    (image,) = upstream.add([Recipe("library/corrupt-upstream", "1", (0.5, 0.2))])
    upstream.corrupt(image)
    ran = run("pull", "--images", image.name, "--cold", *PATIENT_PULL, *PATIENT_P99, "--min-hit-ratio", "0", seconds=4)
    assert ran.code == 1
    assert ran.summary["pulls"] == 0
    assert "max-failures" in ran.violated()


def test_push_passes(run: Runner) -> None:
    ran = run("push", "--scale", "0.1", "--max-push-p95-ms", "60000")
    assert ran.code == 0, ran.output
    assert ran.summary["pushes"] > 0
    assert ran.summary["mb_sent_per_s"] > 0


def test_push_fails_at_an_impossible_threshold(run: Runner) -> None:
    ran = run("push", "--scale", "0.1", "--max-push-p95-ms", "0.001", seconds=5)
    assert ran.code == 1
    assert ran.violated() == {"max-push-p95-ms"}


@pytest.fixture
def cold(upstream: FakeUpstream, request: pytest.FixtureRequest) -> list[str]:
    """Two images that the mirror has never served: for the single client and for the herd."""
    layers = (1.0, 0.5)
    name = request.node.name.replace("_", "-")
    return [
        image.name for image in upstream.add([Recipe(f"library/{name}-{place}", "1", layers) for place in range(2)])
    ]


def test_cold_herd_passes(run: Runner, cold: list[str]) -> None:
    arguments = ("--images", ",".join(cold), "--link-mbits", "20", "--max-slowest-ratio", "100")
    ran = run("cold_herd", *arguments, users=8, seconds=60)
    assert ran.code == 0, ran.output
    assert ran.summary["facts"]["herd"] == 8
    assert ran.summary["pulls"] == 9


def test_cold_herd_fails_at_an_impossible_threshold(run: Runner, cold: list[str]) -> None:
    arguments = ("--images", ",".join(cold), "--link-mbits", "0", "--max-slowest-ratio", "100")
    ran = run("cold_herd", *arguments, "--max-upstream-ratio", "0.5", users=4, seconds=60)
    assert ran.code == 1
    assert ran.violated() == {"max-upstream-ratio"}


def test_mixed_passes(run: Runner) -> None:
    ran = run("mixed", *PATIENT, "--calm", "1", "--fault", "1", "--max-outage-s", "60", users=4, seconds=60)
    assert ran.code == 0, ran.output
    assert ran.summary["facts"]["cycles"] >= 1
    assert {f"{unit} killed, times" for unit in UNITS} <= set(ran.summary["facts"])


def test_mixed_repairs_the_upstream_before_the_verdict(run: Runner, upstream: FakeUpstream) -> None:
    """The run ends after 5 s of refusals, 5 s of delays and the kill."""
    ran = run("mixed", *PATIENT, "--calm", "0.1", "--fault", "5", users=2, seconds=12)
    assert ran.code == 1
    assert ran.violated() == {"min-cycles"}
    assert any(note.endswith("upstream killed") for note in ran.summary["notes"])
    # Counted by cache headers: the registry sends none, so manifests read back after a push do not count.
    assert ran.summary["hit_ratio"] > 0.9
    assert "none" not in ran.summary["cache"]
    assert upstream.machine.running


GROUP = ("--own-mirror", "--hosts", "2")
GROUP_S = 600


def test_mixed_kills_the_members_of_a_group_in_turn(run: Runner) -> None:
    """No pull fails: the other member answers."""
    arguments = (*GROUP, *PATIENT, "--scale", str(SCALE), "--calm", "1", "--fault", "1", "--max-outage-s", "60")
    ran = run("mixed", *arguments, users=4, seconds=150, timeout_s=GROUP_S)
    assert ran.code == 0, ran.output
    assert ran.summary["facts"]["hosts killed, times"] >= 1
    assert ran.summary["failovers"] > 0
    assert not any(reason.startswith(("manifest by", "config", "layer")) for reason in ran.summary["reasons"])


def test_cold_herd_of_a_group_fetches_once(run: Runner) -> None:
    arguments = (*GROUP, "--image-mb", "2", "--link-mbits", "20", "--max-slowest-ratio", "100")
    ran = run("cold_herd", *arguments, users=8, seconds=60, timeout_s=GROUP_S)
    assert ran.code == 0, ran.output
    assert ran.summary["pulls"] == 9
    assert ran.summary["facts"]["upstream ratio"] <= 1.02


def test_soak_passes(run: Runner) -> None:
    ran = run("soak", *PATIENT, *PATIENT_P99, "--every", "1", "--max-descriptor-growth", "1000", seconds=9)
    assert ran.code == 0, ran.output
    assert ran.summary["facts"]["samples"] >= 3
    assert 20 < ran.summary["facts"]["memory now, MiB"] < 600


def test_soak_fails_at_an_impossible_threshold(run: Runner) -> None:
    ran = run("soak", *PATIENT, *PATIENT_P99, "--every", "1", "--max-memory-mib", "1", seconds=4)
    assert ran.code == 1
    assert "max-memory-mib" in ran.violated()


@pytest.mark.parametrize(
    ("scenario", "arguments", "message"),
    [
        ("pull", ["--name", "nobody"], 'error: nothing is deployed under the name "nobody": run `tox -e deploy`'),
        (
            "pull",
            ["--images", "alpine"],
            "error: --images alpine: write REPO:TAG, such as library/alpine:3.20",
        ),
        ("pull", ["--host", "https://localhost:9", "--ca", "/none"], "error: --ca /none: no such file"),
        (
            "pull",
            ["--host", "https://localhost:9"],
            "error: the mirror https://localhost:9 cannot pull library/alpine:3.20",
        ),
        ("push", ["--host", "https://localhost:9"], "error: https://localhost:9 was not deployed from here"),
        (
            "cold_herd",
            ["--images", "library/alpine:3.20"],
            "error: --images library/alpine:3.20: cold_herd needs at least 2",
        ),
        ("mixed", ["--name", "x", "--hosts", "2"], "error: --hosts 2: only for a temporary mirror: add --own-mirror"),
        ("mixed", ["--hosts", "9"], "error: --hosts 9: must be 1 to 8"),
        ("cold_herd", ["--rounds", "0"], "error: --rounds 0: must be at least 1"),
    ],
)
def test_wrong_usage_prints_one_line(scenario: str, arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", f"loadtests/{scenario}.py", "--headless", "-t", "1s", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert any(line.startswith(message) for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr
