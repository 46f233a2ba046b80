"""The demo: two Docker hosts pull through the mirror over a slow link, push, and pull again."""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import docker
from rich.table import Table

from registry_stack.deployment import Deployment
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.images.project import ensure_project_image
from registry_stack.images.pull import Outcome, pull
from registry_stack.machines.client import ClientNetwork, docker_client, image_digest, login
from registry_stack.machines.upstream import ALIAS, PORT, fill, limit_rate, upstream_registry
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import LocalOptions
from registry_stack.template.environment import read_environment

HUB_IMAGE = "node:22-bookworm"
REPOSITORY, TAG = "library/node", "demo"
REPORTED = "128.6 s cold, 23.9 s warm: 5.4×"
HOST = "registry.localdomain"


@dataclass(frozen=True)
class DemoResult:
    """Times in seconds, sizes in MB, the rate in Mbit/s, fetches as requests for a blob seen by the upstream's side."""

    image: str
    size_mb: float
    rate: float
    cold_s: float
    warm_s: float
    push_s: float
    pull_s: float
    cold_fetches: int
    warm_fetches: int

    @property
    def ratio(self) -> float:
        return self.cold_s / self.warm_s

    def as_json(self) -> str:
        """One object with these fields and `ratio`."""
        return json.dumps(asdict(self) | {"ratio": round(self.ratio, 2)}, indent=2)

    def table(self) -> Table:
        table = Table(title=f"{self.image}, {self.size_mb:.0f} MB compressed, upstream at {self.rate:g} Mbit/s")
        table.add_column("step")
        table.add_column("time", justify="right")
        table.add_column("upstream fetches", justify="right")
        table.add_row("first host pulls (cold)", f"{self.cold_s:.1f} s", str(self.cold_fetches))
        table.add_row("second host pulls (warm)", f"{self.warm_s:.1f} s", str(self.warm_fetches))
        table.add_row("first host pushes to :5000", f"{self.push_s:.1f} s", "")
        table.add_row("second host pulls that", f"{self.pull_s:.1f} s", "")
        table.add_row("cold : warm", f"{self.ratio:.1f}×", "")
        table.caption = f"the original deployment reported {REPORTED}"
        return table


def run_demo(rate: float, report: ProgressCallback, hosts: int = 1) -> DemoResult:
    """Run the demo on its own machines, `hosts` of them a group; all are removed also after a failure or Ctrl-C."""
    if rate <= 0:
        raise RegistryStackError(f"--rate {rate:g}: a link needs a rate above 0 Mbit/s")
    client = engine(report)
    name = f"registry-demo-{secrets.token_hex(3)}"
    try:
        return _Demo(client, name, rate, hosts, report).run()
    finally:
        local.destroy(name)


class _Demo:
    """One run; all its machines have the deployment's label, and are removed with it."""

    def __init__(
        self, client: docker.DockerClient, name: str, rate: float, hosts: int, report: ProgressCallback
    ) -> None:
        self.client, self.name, self.rate, self.report = client, name, rate, report
        self.options = LocalOptions(name=name, mirror_port=None, registry_port=None, hosts=hosts, swift=hosts > 1)

    def run(self) -> DemoResult:
        image = self._image()
        upstream = self._upstream(image)
        deployment = self._deploy()
        hosts = [Machine.existing(self.client, member.host) for member in self.options.members]
        first, second = (self._docker_host(which, deployment) for which in ("first", "second"))
        reference = f"{REPOSITORY}:{TAG}"

        limit_rate(self.client, upstream, self.rate)
        self.report(f"first host pulls {reference} through a link of {self.rate:g} Mbit/s")
        cold_s = _timed(lambda: first.exec(["docker", "pull", "--quiet", reference]))
        blobs = self._blobs(hosts[0])
        wait_until(lambda: _missing(hosts, blobs), 600, "the mirror to have stored every blob")
        before = _fetches(hosts)
        self.report(f"first pull took {cold_s:.1f} s; second host pulls the same")
        warm_s = _timed(lambda: second.exec(["docker", "pull", "--quiet", reference]))
        after = _fetches(hosts)
        self._check(first, second, reference, hosts[0])
        self.report(f"second pull took {warm_s:.1f} s; first host pushes to :5000, second pulls that")
        push_s, pull_s = self._push_and_pull(first, second, deployment)
        return DemoResult(
            image, sum(blobs.values()) / 1e6, self.rate, cold_s, warm_s, push_s, pull_s, before, after - before
        )

    def _image(self) -> str:
        """Docker Hub's Node.js image if it can be pulled, otherwise a built one."""
        outcome, _why = pull(self.client, HUB_IMAGE, self.report)
        if outcome is Outcome.PULLED:
            return HUB_IMAGE
        self.report(f"{HUB_IMAGE} cannot be pulled: using a Node.js image built from Debian's packages")
        return ensure_project_image(self.client, "node", self.report)

    def _upstream(self, image: str) -> Machine:
        """The registry at the far end of the limited link, with the image in it."""
        local.prepare_network(self.client, self.options)
        machine = upstream_registry(
            self.client, f"{self.name}-upstream", self.options.network, self.options.all_labels, self.report
        )
        self.report(f"filling the upstream with {image}")
        fill(self.client, machine, image, REPOSITORY, TAG)
        return machine

    def _deploy(self) -> Deployment:
        parameters = [
            f"upstream_url=http://{ALIAS}:{PORT}",
            "require_upstream=false",
            f"upstream_check_image={REPOSITORY}:none",
            "domain=localdomain",
        ]
        return local.deploy(self.options, read_environment([], parameters), self.report)

    def _docker_host(self, which: str, deployment: Deployment) -> Machine:
        name, place, labels = f"{self.name}-{which}", ClientNetwork(self.options.network), self.options.all_labels
        host, _dot, domain = HOST.partition(".")
        members = [f"{host}-{number}.{domain}" for number in range(len(deployment.members))]
        return docker_client(self.client, name, place, labels, deployment, HOST, self.report, members=members)

    def _blobs(self, host: Machine) -> dict[str, int]:
        """The size of each blob of the image by digest, as the mirror reports it."""
        accept = "application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json"
        url = f"https://localhost/v2/{REPOSITORY}/manifests/{TAG}"
        manifest = json.loads(host.exec(["curl", "-skf", "-H", f"Accept: {accept}", url]).out)
        return {blob["digest"]: int(blob["size"]) for blob in [manifest["config"], *manifest["layers"]]}

    def _check(self, first: Machine, second: Machine, reference: str, host: Machine) -> None:
        digests = {image_digest(machine, reference) for machine in (first, second)}
        if len(digests) != 1:
            raise RegistryStackError(f"the two hosts pulled different images: {', '.join(sorted(digests))}")
        catalog = json.loads(host.exec(["curl", "-skf", "https://localhost/v2/_catalog"]).out)["repositories"]
        if REPOSITORY not in catalog:
            raise RegistryStackError(f"the mirror's catalog does not list {REPOSITORY}: {', '.join(catalog)}")

    def _push_and_pull(self, first: Machine, second: Machine, deployment: Deployment) -> tuple[float, float]:
        pushed = f"{HOST}:5000/demo/node:{TAG}"
        for machine in (first, second):
            login(machine, deployment, HOST)
        first.exec(["docker", "tag", f"{REPOSITORY}:{TAG}", pushed])
        push_s = _timed(lambda: first.exec(["docker", "push", "--quiet", pushed]))
        # Docker would not pull layers that it has.
        second.exec(["docker", "rmi", f"{REPOSITORY}:{TAG}"])
        pull_s = _timed(lambda: second.exec(["docker", "pull", "--quiet", pushed]))
        return push_s, pull_s


def _timed(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _missing(hosts: Sequence[Machine], blobs: dict[str, int]) -> str | None:
    """A probe: the proxy may still be storing a blob when the client has received it. One host of a group has it."""
    paths = {
        f"/var/lib/registry/proxy/docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data" for digest in blobs
    }
    there = {path for host in hosts for path in host.exec(["ls", *sorted(paths)], check=False).out.split()}
    left = len(paths - there)
    return f"{left} of {len(paths)} blobs are not stored" if left else None


def _fetches(hosts: Sequence[Machine]) -> int:
    """How many blob requests their edges have passed to the upstream, from their logs."""
    command = ["journalctl", "-u", "docker-registry-edge", "-b", "-o", "cat", "--no-pager"]
    lines = [line for host in hosts for line in host.exec(command).out.splitlines()]
    return sum(line.startswith("upstream ") and " GET " in line and "/blobs/" in line for line in lines)
