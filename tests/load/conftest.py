"""One mirror with an upstream of its own for the whole suite, and the scenarios run against it as a user runs them."""

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
from loadtests.support.mirror import Mirror, own_mirror

ROOT = Path(__file__).resolve().parents[2]
SCALE = 0.02
# Whether a scenario works is asked here, on a machine that may be busy; how fast the mirror is, elsewhere.
PATIENT = ("--max-hit-p50-ms", "20000", "--max-hit-p95-ms", "20000")
# Of the scenarios that have it.
PATIENT_P99 = ("--max-hit-p99-ms", "20000")


@dataclass(frozen=True)
class Ran:
    """What became of a run: its exit code, what it said, and its summary."""

    code: int
    said: str
    summary: dict[str, Any]

    def missed(self) -> set[str]:
        """The limits that were not kept."""
        return {one["name"] for one in self.summary["limits"] if not one["kept"]}


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A place of our own for what is deployed, not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_STACK_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def mirror(state: None) -> Iterator[Mirror]:
    """Deployed, with the popular images, small."""
    with own_mirror([recipe.scaled(SCALE) for recipe in POPULAR], prefix="loadtest") as (mirror, _images):
        yield mirror


@pytest.fixture(scope="session")
def standin(mirror: Mirror) -> FakeUpstream:
    """Its upstream."""
    assert mirror.standin is not None
    return mirror.standin


@dataclass(frozen=True)
class Runner:
    """Runs a scenario by its file."""

    folder: Path
    name: str
    images: tuple[str, ...]

    def __call__(self, scenario: str, *arguments: str, users: int = 3, seconds: int = 5) -> Ran:
        """On the suite's mirror, unless --host says otherwise."""
        summary = self.folder / "summary.json"
        command = [sys.executable, "-m", "locust", "-f", f"loadtests/{scenario}.py", "--headless", "--only-summary"]
        command += ["-u", str(users), "-r", str(users), "-t", f"{seconds}s", "--summary", str(summary)]
        command += ["--html", str(self.folder / "report.html"), "--name", self.name, *arguments]
        if "--images" not in arguments:
            # Not what other tests have added to the upstream.
            command += ["--images", ",".join(self.images)]
        with subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                said, _nothing = process.communicate(timeout=170)
            except subprocess.TimeoutExpired:
                # Not killed: it removes what it has started.
                process.terminate()
                raise AssertionError(f"not done after 170 s: {process.communicate(timeout=60)[0]}") from None
        assert summary.exists(), said
        assert "Traceback" not in said
        return Ran(process.returncode, said, json.loads(summary.read_text()))


@pytest.fixture
def run(mirror: Mirror, tmp_path: Path) -> Runner:
    """`run("pull", "--option", …)`."""
    assert mirror.deployment is not None
    return Runner(tmp_path, mirror.deployment.name, mirror.images)
