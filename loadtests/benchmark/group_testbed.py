"""The hosts of a group, or a single one with a Swift, with a client machine that reaches each by its name."""

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import requests

from loadtests.benchmark.testbed import (
    CA,
    GROUP_WORKER_COMMAND,
    PullFigures,
    RequestFigures,
    run_pulls,
    run_wrk,
    start_client,
)
from loadtests.support.fake_upstream import FakeUpstream
from loadtests.support.fault_injection import local_hosts
from loadtests.support.images import Image, Recipe
from loadtests.support.mirror import Mirror, redeploy, temporary_mirror
from loadtests.support.registry.media_types import ACCEPT
from loadtests.support.registry.protocol import manifest_path
from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.machines.swift import swift_name
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.options import LocalOptions
from registry_stack.targets.local.target import find_running

STORE = "/var/lib/registry/proxy"
_BLOBS = f"{STORE}/docker/registry/v2/blobs"
_LOGIN, _AUTHORIZATION, _UNTIL = "/root/login", "/root/authorization", "/run/load-ends"
# By registry-ready, on every host.
_PUSHED = "registry-ready/probe"
_LOAD_TIMEOUT_S = 1800


@dataclass
class LoadFigures:
    """What clients saw while they pulled and pushed. A push is tried twice; `lost` are those acknowledged in vain."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)
    pushed: list[list[str]] = field(default_factory=list)

    def add(self, line: dict[str, Any]) -> None:
        """Count one line of the worker."""
        counts = self.counts
        if line["kind"] == "pull":
            counts["pulls"] += 1
            counts["failed"] += bool(line["failed"])
            counts["wrong"] += line["wrong"]
            counts["failovers"] += line["failovers"]
            self.reasons += [line["failed"]] if line["failed"] else []
            return
        counts["pushes"] += 1
        counts["pushes_failed"] += bool(line["failures"])
        counts["pushes_failed_twice"] += line["pushed"] is None
        self.reasons += line["failures"]
        self.pushed += [line["pushed"]] if line["pushed"] else []

    def row(self) -> dict[str, Any]:
        """The figures for a table."""
        names = ("pulls", "failed", "wrong", "failovers", "pushes", "pushes_failed", "pushes_failed_twice", "lost")
        return {name: self.counts[name] for name in names} | {"reasons": list(dict.fromkeys(self.reasons))[:5]}


class GroupTestbed:
    """A temporary deployment of hosts that share a Swift, their upstream, and a client machine."""

    def __init__(self, mirror: Mirror, images: Sequence[Image], report: ProgressCallback) -> None:
        if mirror.deployment is None or mirror.upstream is None:
            raise RegistryStackError("the benchmark needs a temporary mirror")
        self.mirror, self.report = mirror, report
        self.images = {image.repo: image for image in images}
        self.upstream: FakeUpstream = mirror.upstream
        self.client = start_client(mirror, report)
        deployment = mirror.deployment
        login = f"{deployment.registry_username}:{deployment.password}".encode()
        self.client.put(_LOGIN, login, 0o600)
        self.client.put(_AUTHORIZATION, b"Basic " + base64.b64encode(login), 0o600)
        self._addresses: dict[str, str] = {}
        self._name_hosts()

    @property
    def hosts(self) -> list[Machine]:
        """The running hosts."""
        return [host.machine for host in local_hosts(self.mirror)]

    @property
    def swift(self) -> Machine:
        """The Swift that they share."""
        assert self.mirror.deployment is not None
        machine = Machine.find(self.upstream.machine.client, swift_name(self.mirror.deployment.name))
        assert machine is not None
        return machine

    @property
    def options(self) -> LocalOptions:
        """What it was deployed with."""
        assert self.mirror.options is not None
        return self.mirror.options

    @property
    def mirrors(self) -> list[str]:
        """The URLs of the mirrors for the client machine."""
        return [f"https://{name}" for name in self._names]

    @property
    def registries(self) -> list[str]:
        """The URLs of the registries for the client machine."""
        return [f"https://{name}:5000" for name in self._names]

    @property
    def _names(self) -> list[str]:
        assert self.mirror.deployment is not None
        numbers = range(len(self.mirror.deployment.members))
        return [f"registry-{number}.localdomain" for number in numbers] or ["registry.localdomain"]

    @property
    def _host_names(self) -> list[str]:
        known = self.mirror.deployment
        assert known is not None
        return [member.name for member in known.members] or [known.name]

    @property
    def version(self) -> str:
        """The program that is behind the edge."""
        host = self.hosts[0]
        return host.exec(["docker", "exec", "docker-registry-proxy", "registry", "--version"]).out.split()[-1]

    def redeploy(self, options: LocalOptions, parameters: Sequence[str]) -> None:
        """Deploy again, with other options or parameters; clients know a new host as soon as it runs."""

        def report(line: str) -> None:
            self.report(line)
            self._name_hosts()

        self.mirror = redeploy(self.mirror, options, parameters, report)
        self._name_hosts()

    def resize(self, hosts: int) -> None:
        """Have another number of hosts."""
        self.redeploy(replace(self.options, hosts=hosts), self.mirror.parameters)

    def restart(self, host: Machine) -> None:
        """Boot a host again that is not running. Its address may be another one."""
        host.start()
        self._name_hosts()

    def _name_hosts(self) -> None:
        """Give the client every host's address, as a site's DNS does: Docker's own forgets a host that is down."""
        for name, host_name in zip(self._names, self._host_names, strict=True):
            host = find_running(host_name)
            # One that stops at this moment has no address.
            with suppress(RegistryStackError):
                self._addresses |= {name: host.address} if host else {}
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._addresses.items())]
        self.client.exec(["sh", "-c", "cat > /etc/hosts"], input="\n".join([*lines, ""]).encode())

    def wrk(self, number: int, path: str, clients: int, seconds: int) -> RequestFigures:
        """Request one path from one host as fast as possible."""
        return run_wrk(self.client, self.mirrors[number], path, clients, seconds)

    def wrk_registry(self, number: int, path: str, clients: int, seconds: int) -> RequestFigures:
        """The same, of the registry of one host."""
        return run_wrk(self.client, self.registries[number], path, clients, seconds, _AUTHORIZATION)

    def pushed(self) -> tuple[str, str]:
        """The paths of a manifest and of a small blob in its registry."""
        known = self.mirror.deployment
        assert known is not None
        # A host that was killed has another port since.
        url = f"https://localhost:{self.hosts[0].port(5000)}{manifest_path(_PUSHED, 'latest')}"
        login = (known.registry_username, known.password)
        answer = requests.get(url, headers={"Accept": ACCEPT}, auth=login, verify=known.ca_file, timeout=60)
        answer.raise_for_status()
        manifest = manifest_path(_PUSHED, answer.headers["Docker-Content-Digest"])
        return manifest, f"/v2/{_PUSHED}/blobs/{answer.json()['layers'][0]['digest']}"

    def pull(self, image: Image, clients: int) -> PullFigures:
        """Let so many clients pull an image, spread over all hosts."""
        return run_pulls(self.client, self.mirrors, image, f"--clients={clients}", f"--pulls={clients}")

    def warm(self, images: Sequence[Image]) -> None:
        """Pull images once from each host."""
        for url in self.mirrors:
            for image in images:
                if (figures := run_pulls(self.client, [url], image)).failed:
                    raise RegistryStackError(f"{url} cannot serve {image.name}: {figures.reason}")

    def cached_bytes(self) -> list[int]:
        """The bytes of blobs in the cache of each host."""
        command = ["find", _BLOBS, "-type", "f", "-name", "data", "-printf", "%s\\n"]
        return [sum(map(int, host.exec(command, check=False).out.split())) for host in self.hosts]

    def has_blob(self, number: int, digest: str) -> bool:
        """Whether the cache of a host has a blob."""
        algorithm, _colon, value = digest.partition(":")
        path = f"{_BLOBS}/{algorithm}/{value[:2]}/{value}/data"
        return self.hosts[number].exec(["test", "-e", path], check=False).code == 0

    def settled_upstream_bytes(self) -> int:
        """The upstream's bytes once it sends no more."""
        before = -1
        while (now := self.upstream.counters().get("bytes", 0)) != before:
            before = now
            time.sleep(1)
        return now

    @contextmanager
    def load(self, images: Sequence[Image]) -> Iterator[LoadFigures]:
        """Pull these images and push others while the context lasts; the figures are there after it."""
        figures = LoadFigures()
        self.client.exec(["rm", "-f", _UNTIL])
        command = [*GROUP_WORKER_COMMAND, f"--until={_UNTIL}", f"--login={_LOGIN}", CA]
        command += [",".join(self.mirrors), ",".join(self.registries), *(image.name for image in images)]
        results: list[str] = []
        worker = threading.Thread(
            target=lambda: results.append(self.client.exec(command, timeout=_LOAD_TIMEOUT_S).out), daemon=True
        )
        worker.start()
        try:
            yield figures
        finally:
            self.client.exec(["touch", _UNTIL])
            worker.join(_LOAD_TIMEOUT_S)
        if not results:
            raise RegistryStackError("the clients of the group did not end well")
        for line in results[0].splitlines():
            figures.add(json.loads(line))
        self._read_back(figures)

    def _read_back(self, figures: LoadFigures) -> None:
        """Pull everything that was acknowledged."""
        command = [*GROUP_WORKER_COMMAND, "--read-back", f"--login={_LOGIN}", CA]
        command += [",".join(self.mirrors), ",".join(self.registries)]
        done = self.client.exec(command, input=json.dumps(figures.pushed).encode(), timeout=_LOAD_TIMEOUT_S)
        read = [json.loads(line) for line in done.out.splitlines()]
        lost = [f"lost: {one['name']}: {one['wrong']}" for one in read if one["wrong"]]
        figures.counts["lost"] = len(lost)
        figures.reasons = [*lost, *figures.reasons]


@contextmanager
def start_group(hosts: int, recipes: Sequence[Recipe], report: ProgressCallback) -> Iterator[GroupTestbed]:
    """Deploy so many hosts; remove them at the end."""
    with temporary_mirror(recipes, report=report, prefix=f"group{hosts}", hosts=hosts, swift=True) as (mirror, images):
        yield GroupTestbed(mirror, images, report)
