"""The machines of one run, and the two clients that measure: wrk for requests, verified pulls for images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from loadtests.benchmark import pull_worker
from loadtests.benchmark.systems_under_test import Contender, Contenders
from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.images import ACCEPT, Image, Recipe
from loadtests.support.mirror import Mirror, own_mirror
from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.errors import RegistryStackError
from registry_stack.images.project import ensure_project_image
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.options import DEPLOYMENT_LABEL
from registry_stack.targets.local.target import find_host

NAME = "registry.localdomain"
_CA = "/ca.crt"
_HERD = "/herd.py"


@dataclass(frozen=True)
class Requests:
    """What wrk measured: per second, ms, and how many of all were not answered with 2xx or 3xx."""

    rps: float
    mb_per_s: float
    p50_ms: float
    p99_ms: float
    requests: int
    bad: int


@dataclass(frozen=True)
class Pulls:
    """What verified pulls did: seconds of each that was right; how many failed, and how many had wrong bytes."""

    seconds: tuple[float, ...]
    size: int
    failed: int
    wrong: int
    reason: str

    @property
    def mean(self) -> float:
        """Seconds; 0 of none."""
        return sum(self.seconds) / len(self.seconds) if self.seconds else 0.0

    @property
    def slowest(self) -> float:
        """Seconds; 0 of none."""
        return max(self.seconds, default=0.0)


class Bench:
    """A host with all contenders, their upstream, and a client machine, for one run."""

    def __init__(self, mirror: Mirror, client: Machine, report: ProgressCallback) -> None:
        if mirror.deployment is None or mirror.standin is None:
            raise RegistryStackError("the benchmark runs on a mirror of its own")
        self.mirror, self.client, self.report = mirror, client, report
        self.standin: FakeUpstream = mirror.standin
        self.host = find_host(mirror.deployment.name)
        self.contenders = Contenders(self.host, self.standin, report)

    def url(self, contender: Contender) -> str:
        """Where the client reaches it."""
        return f"https://{NAME}:{contender.port}"

    def wrk(self, contender: Contender, path: str, clients: int, seconds: int) -> Requests:
        """Ask for one path as fast as so many connections can."""
        command = ["wrk", f"-t{min(2, clients)}", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s"]
        command += ["-s", "/usr/local/share/measure.lua", self.url(contender), "--", path, ACCEPT]
        found = json.loads(self.client.exec(command, timeout=seconds + 90).out.splitlines()[-1])
        errors = sum(found[name] for name in ("bad_status", "connect_errors", "read_errors", "timeouts"))
        took = found["seconds"]
        return Requests(
            (found["requests"] - found["bad_status"]) / took,
            found["bytes"] / took / 1e6,
            found["p50_ms"],
            found["p99_ms"],
            found["requests"],
            errors,
        )

    def pull(
        self,
        contender: Contender,
        image: Image,
        clients: int = 1,
        pulls: int = 1,
        seconds: int = 0,
        patience_s: int = 900,
    ) -> Pulls:
        """Pull an image as Docker does; with `seconds` not `pulls` times, but again and again for so long.

        A client waits `patience_s` for the next bytes.
        """
        command = ["python3", _HERD, f"--clients={clients}", f"--patience={patience_s}"]
        command += [f"--seconds={seconds}" if seconds else f"--pulls={pulls}"]
        command += [self.url(contender), _CA, ACCEPT, image.repo, image.tag]
        lines = self.client.exec(command, timeout=3600).out.splitlines()
        return _pulls([json.loads(line) for line in lines], image.size)

    def warm(self, contender: Contender, images: Sequence[Image]) -> None:
        """Have it fetch images once; one that cannot is not worth measuring."""
        for image in images:
            done = self.pull(contender, image)
            if done.failed or done.wrong:
                raise RegistryStackError(f"{contender.name} cannot pull {image.name}: {done.reason}")

    def calm(self) -> None:
        """After a stage that broke off: an upstream that is there, and neither slow nor limited."""
        if not self.standin.machine.running:
            self.standin.start_again()
        self.standin.behave()
        self.standin.limit(None)


@contextmanager
def benchmark(recipes: Sequence[Recipe], report: ProgressCallback) -> Iterator[tuple[Bench, list[Image]]]:
    """Bring all machines up; every one of them is removed, however it ends."""
    with own_mirror(recipes, report=report, prefix="benchmark") as (mirror, images):
        assert mirror.deployment is not None
        assert mirror.standin is not None
        name, engine = mirror.deployment.name, mirror.standin.machine.client
        spec = MachineSpec(
            image=ensure_project_image(engine, "load", report),
            name=f"{name}-client",
            labels={DEPLOYMENT_LABEL: name},
            network=f"{name}-net",
            entrypoint=["sleep"],
            command=["infinity"],
        )
        client = Machine.boot(engine, spec, report)
        client.put(_CA, Path(mirror.ca_file))
        client.put(_HERD, Path(pull_worker.__file__))
        yield Bench(mirror, client, report), images


def middle(found: Sequence[Requests]) -> Requests:
    """The median of each figure over the rounds."""
    values: dict[str, Any] = {name: median(asdict(one)[name] for one in found) for name in asdict(found[0])}
    values["requests"], values["bad"] = sum(one.requests for one in found), sum(one.bad for one in found)
    return Requests(**values)


def of_static(found: Sequence[Requests], static: Sequence[Requests]) -> dict[str, float]:
    """The median over the rounds of each figure as a multiple of nginx static's in the same round."""
    figures = ("rps", "mb_per_s", "p99_ms")
    pairs = list(zip(found, static, strict=True))
    return {
        f"{name}_of_static": median(getattr(one, name) / getattr(limit, name) for one, limit in pairs)
        for name in figures
    }


def _pulls(found: Sequence[Mapping[str, Any]], size: int) -> Pulls:
    failures = [one for one in found if "failed" in one]
    seconds = tuple(one["seconds"] for one in found if "seconds" in one)
    wrong = sum(one["wrong"] for one in failures)
    return Pulls(seconds, size, len(failures), wrong, failures[0]["failed"] if failures else "")
