"""One temporary mirror for the whole suite, and a runner that starts scenarios as a user does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.images import POPULAR
from loadtests.support.mirror import Mirror, temporary_mirror

ROOT = Path(__file__).resolve().parents[2]
SCALE = 0.02
# These tests show that a scenario works, on a machine that may be busy; how fast the mirror is, the benchmark shows.
PATIENT = ("--max-hit-p50-ms", "20000", "--max-hit-p95-ms", "20000", "--max-client-share", "inf")
# A machine that is busy with other tests may start pulls late.
PATIENT_PULL = (*PATIENT, "--min-on-time", "0", "--full", "0.5")
# For scenarios with that option.
PATIENT_P99 = ("--max-hit-p99-ms", "20000")


@dataclass(frozen=True)
class Ran:
    """The exit code, the output and the summary of a run."""

    code: int
    output: str
    summary: dict[str, Any]

    def violated(self) -> set[str]:
        """The thresholds that the run violated."""
        return {one["name"] for one in self.summary["thresholds"] if one["passed"] is False}


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the records of deployments apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_STACK_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def mirror(state: None) -> Iterator[Mirror]:
    """A mirror whose upstream serves small versions of the popular images."""
    with temporary_mirror([recipe.scaled(SCALE) for recipe in POPULAR], prefix="loadtest") as (mirror, _images):
        yield mirror


@pytest.fixture(scope="session")
def upstream(mirror: Mirror) -> FakeUpstream:
    """The upstream of that mirror."""
    assert mirror.upstream is not None
    return mirror.upstream


@dataclass(frozen=True)
class Runner:
    """Runs a scenario by its file."""

    folder: Path
    name: str
    images: tuple[str, ...]

    def __call__(self, scenario: str, *arguments: str, users: int = 3, seconds: int = 5, timeout_s: float = 170) -> Ran:
        """Run a scenario on the suite's mirror, unless --host or --own-mirror is among the arguments."""
        summary = self.folder / "summary.json"
        command = [sys.executable, "-m", "locust", "-f", f"loadtests/{scenario}.py", "--headless", "--only-summary"]
        command += ["-u", str(users), "-r", str(users), "-t", f"{seconds}s", "--summary", str(summary)]
        command += ["--html", str(self.folder / "report.html"), "--name", self.name, *arguments]
        if "--images" not in arguments:
            # Leave out what other tests have added to the upstream.
            command += ["--images", ",".join(self.images)]
        with subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                output, _nothing = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                # Terminated, not killed: it then removes what it has started.
                process.terminate()
                raise AssertionError(
                    f"still running after {timeout_s} s: {process.communicate(timeout=60)[0]}"
                ) from None
        assert summary.exists(), output
        assert "Traceback" not in output
        return Ran(process.returncode, output, json.loads(summary.read_text()))


@pytest.fixture
def run(mirror: Mirror, tmp_path: Path) -> Runner:
    """`run("pull", "--option", …)`."""
    assert mirror.deployment is not None
    return Runner(tmp_path, mirror.deployment.name, mirror.images)
