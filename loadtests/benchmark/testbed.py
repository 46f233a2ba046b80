"""The machines of one run, and its two clients: wrk for requests, the pull worker for verified pulls."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from loadtests.benchmark import group_worker, pull_worker
from loadtests.benchmark.systems_under_test import SystemsUnderTest, SystemUnderTest
from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.images import Image, Recipe
from loadtests.support.mirror import Mirror, temporary_mirror
from loadtests.support.registry import content, https, media_types, protocol
from loadtests.support.registry.media_types import ACCEPT
from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.errors import RegistryStackError
from registry_stack.images.project import ensure_project_image
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.options import DEPLOYMENT_LABEL
from registry_stack.targets.local.target import find_host

ROOT = Path(__file__).resolve().parents[2]
NAME = "registry.localdomain"
CA = "/ca.crt"
_WORKER_FOLDER = "/opt/pull-worker"
_PYTHON = ("env", f"PYTHONPATH={_WORKER_FOLDER}", "python3", "-m")
WORKER_COMMAND = (*_PYTHON, pull_worker.__name__)
GROUP_WORKER_COMMAND = (*_PYTHON, group_worker.__name__)


@dataclass(frozen=True)
class RequestFigures:
    """What wrk measured. `rps` counts responses with 2xx or 3xx; `errors` are all others, and requests without one."""

    rps: float
    mb_per_s: float
    p50_ms: float
    p99_ms: float
    requests: int
    errors: int


@dataclass(frozen=True)
class PullFigures:
    """What the pull worker measured: seconds of each complete pull, failed pulls, and those with wrong bytes."""

    seconds: tuple[float, ...]
    failed: int
    wrong: int
    reason: str

    @property
    def mean_s(self) -> float:
        """Mean seconds of a pull; 0 without any."""
        return mean(self.seconds) if self.seconds else 0.0

    @property
    def slowest_s(self) -> float:
        """Seconds of the slowest pull; 0 without any."""
        return max(self.seconds, default=0.0)


class Testbed:
    """A host with all systems under test, their upstream, and a client machine."""

    def __init__(self, mirror: Mirror, client: Machine, report: ProgressCallback) -> None:
        if mirror.deployment is None or mirror.upstream is None:
            raise RegistryStackError("the benchmark needs a temporary mirror")
        self.deployment, self.client, self.report = mirror.deployment, client, report
        self.upstream: FakeUpstream = mirror.upstream
        self.host = find_host(mirror.deployment.name)
        self.systems = SystemsUnderTest(self.host, self.upstream, report)

    def url(self, system: SystemUnderTest) -> str:
        """The URL at which the client machine reaches a system."""
        return f"https://{NAME}:{system.port}"

    def wrk(self, system: SystemUnderTest, path: str, clients: int, seconds: int) -> RequestFigures:
        """Request one path over so many connections as fast as possible."""
        return run_wrk(self.client, self.url(system), path, clients, seconds)

    def pull(
        self,
        system: SystemUnderTest,
        image: Image,
        clients: int = 1,
        pulls: int = 1,
        seconds: int = 0,
        timeout_s: int = 900,
    ) -> PullFigures:
        """Pull an image as Docker does, `pulls` times or, with `seconds`, again and again for so long.

        A client gives up when it has waited `timeout_s` for the next bytes.
        """
        options = [f"--clients={clients}", f"--timeout={timeout_s}"]
        options += [f"--seconds={seconds}" if seconds else f"--pulls={pulls}"]
        return run_pulls(self.client, [self.url(system)], image, *options)

    def warm(self, system: SystemUnderTest, images: Sequence[Image]) -> None:
        """Pull images once. A system that cannot serve them is not worth measuring."""
        for image in images:
            figures = self.pull(system, image)
            if figures.failed:
                raise RegistryStackError(f"{system.name} cannot pull {image.name}: {figures.reason}")

    def clear_faults(self) -> None:
        """Bring the upstream back to normal after an aborted stage."""
        if not self.upstream.machine.running:
            self.upstream.restart()
        self.upstream.clear_faults()
        self.upstream.limit(None)


@contextmanager
def start_testbed(recipes: Sequence[Recipe], report: ProgressCallback) -> Iterator[tuple[Testbed, list[Image]]]:
    """Start all machines; remove them at the end."""
    with temporary_mirror(recipes, report=report, prefix="benchmark") as (mirror, images):
        yield Testbed(mirror, start_client(mirror, report), report), images


def start_client(mirror: Mirror, report: ProgressCallback) -> Machine:
    """Boot the machine on the network of a temporary mirror that has wrk and the pull worker."""
    assert mirror.deployment is not None
    assert mirror.upstream is not None
    name, engine = mirror.deployment.name, mirror.upstream.machine.client
    spec = MachineSpec(
        image=ensure_project_image(engine, "load", report),
        name=f"{name}-client",
        labels={DEPLOYMENT_LABEL: name},
        network=f"{name}-net",
        entrypoint=["sleep"],
        command=["infinity"],
    )
    client = Machine.boot(engine, spec, report)
    client.put(CA, Path(mirror.ca_file))
    install_pull_worker(client)
    return client


def install_pull_worker(machine: Machine) -> None:
    """Copy the workers and the registry protocol to a machine, where WORKER_COMMAND runs the pull worker."""
    for module in (pull_worker, group_worker, content, https, media_types, protocol):
        path = Path(str(module.__file__))
        machine.put(f"{_WORKER_FOLDER}/{path.relative_to(ROOT)}", path)


def run_wrk(
    client: Machine, url: str, path: str, clients: int, seconds: int, authorization: str = ""
) -> RequestFigures:
    """Request one path over so many connections as fast as possible, with the header in the file `authorization`."""
    command = ["wrk", f"-t{min(2, clients)}", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s"]
    command += ["-s", "/usr/local/share/measure.lua", url, "--", path, ACCEPT]
    command += ["", authorization] if authorization else []
    measured = json.loads(client.exec(command, timeout=seconds + 90).out.splitlines()[-1])
    took = measured["seconds"]
    return RequestFigures(
        rps=(measured["requests"] - measured["bad_status"]) / took,
        mb_per_s=measured["bytes"] / took / 1e6,
        p50_ms=measured["p50_ms"],
        p99_ms=measured["p99_ms"],
        requests=measured["requests"],
        errors=sum(measured[name] for name in ("bad_status", "connect_errors", "read_errors", "timeouts")),
    )


def run_pulls(client: Machine, urls: Sequence[str], image: Image, *options: str) -> PullFigures:
    """Run the pull worker with these options; several URLs are those of a group's members."""
    command = [*WORKER_COMMAND, *options, ",".join(urls), CA, image.repo, image.reference]
    lines = client.exec(command, timeout=3600).out.splitlines()
    return _summarize([json.loads(line) for line in lines])


def median_figures(rounds: Sequence[RequestFigures]) -> RequestFigures:
    """The median of each figure over the rounds; requests and errors are summed."""
    values: dict[str, Any] = {name: median(asdict(one)[name] for one in rounds) for name in asdict(rounds[0])}
    values["requests"], values["errors"] = sum(one.requests for one in rounds), sum(one.errors for one in rounds)
    return RequestFigures(**values)


def relative_figures(rounds: Sequence[RequestFigures], static: Sequence[RequestFigures]) -> dict[str, float]:
    """Each figure relative to nginx static's of the same round: the median over the rounds."""
    pairs = list(zip(rounds, static, strict=True))
    return {
        f"{name}_of_static": median(getattr(one, name) / getattr(base, name) for one, base in pairs)
        for name in ("rps", "mb_per_s", "p99_ms")
    }


def _summarize(pulls: Sequence[Mapping[str, Any]]) -> PullFigures:
    failures = [one for one in pulls if "failed" in one]
    seconds = tuple(one["seconds"] for one in pulls if "seconds" in one)
    wrong = sum(one["wrong"] for one in failures)
    return PullFigures(seconds, len(failures), wrong, failures[0]["failed"] if failures else "")
