"""A group of two hosts with one Swift, on the local target, and an upstream of the project's own."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
from testinfra.host import Host

from registry_stack.deployment import Deployment
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, remove_labelled
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import LocalOptions
from registry_stack.targets.local.rollout import wait_until_ready
from registry_stack.template.environment import read_environment
from tests.host.backend import testinfra_host
from tests.support.deadlines import scaled, wait_until
from tests.support.oci import Blob, OciClient
from tests.support.upstream import Upstream, ensure_network

RUN_LABEL = "org.registry-stack.test-run"
CHECK_REPO, CHECK_TAG = "library/check", "1.0"
SHARED, DOMAIN = "registry", "grouptest.example"
_READY_S = 300
_STORED = "/var/lib/registry/proxy/docker/registry/v2/blobs/sha256/{}/{}/data"


@dataclass(frozen=True)
class HostOfGroup:
    """One of the hosts; `number` is its place in group_members."""

    number: int
    machine: Machine
    deployment: Deployment

    @cached_property
    def host(self) -> Host:
        return testinfra_host(self.machine)

    def mirror(self) -> OciClient:
        """A client of its mirror, verifying its certificate. A restart may change the port."""
        return OciClient(f"https://localhost:{self.machine.port(443)}", verify=self.deployment.ca_file)

    def registry(self) -> OciClient:
        """A client of its registry, logged in."""
        login = (self.deployment.registry_username, self.deployment.password)
        return OciClient(f"https://localhost:{self.machine.port(5000)}", login, self.deployment.ca_file)

    def stores(self, blob: Blob) -> bool:
        """Whether its proxy has stored the blob, as far as one can see: it may be away."""
        if not self.machine.running:
            return False
        digest = blob.digest.removeprefix("sha256:")
        return bool(self.host.file(_STORED.format(digest[:2], digest)).exists)

    def wait_until_ready(self) -> None:
        """Wait for its own proof that it works."""
        wait_until_ready(self.machine, lambda _line: None, scaled(_READY_S))


class Group:
    """Two hosts."""

    def __init__(self, keep: str = "") -> None:
        self.kept = bool(keep)
        run = keep or f"grouptest-{secrets.token_hex(4)}"
        self.engine: docker.DockerClient = engine()
        self.labels = {RUN_LABEL: run}
        self.options = LocalOptions(
            name=run, mirror_port=None, registry_port=None, swift=True, hosts=2, labels=self.labels
        )

    def start(self) -> None:
        """Bring all of it up."""
        ensure_network(self.engine, self.options.network, self.options.all_labels)
        name = f"{self.options.name}-upstream"
        self.upstream = Upstream.find(self.engine, name) or Upstream.start(
            self.engine, self.options.network, self.labels, name=name
        )
        self.upstream.push(CHECK_REPO, CHECK_TAG, [1000])
        parameters = {
            "hostname": SHARED,
            "domain": DOMAIN,
            "upstream_url": self.upstream.url,
            "upstream_check_image": f"{CHECK_REPO}:{CHECK_TAG}",
            "require_upstream": "true",
            "ready_timeout_seconds": str(round(scaled(_READY_S))),
        }
        given = read_environment([], [f"{name}={value}" for name, value in parameters.items()])
        self.deployment = local.deploy(self.options, given)
        self.hosts: Sequence[HostOfGroup] = [
            HostOfGroup(number, local.find_host(member.host), self.deployment)
            for number, member in enumerate(self.options.members)
        ]

    def wait_until_stored(self, *blobs: Blob) -> dict[str, list[int]]:
        """The numbers of the hosts that have stored each, once one of them has."""
        found: dict[str, list[int]] = {}

        def probe() -> str | None:
            found.update({one.digest: [host.number for host in self.hosts if host.stores(one)] for one in blobs})
            missing = [digest for digest, hosts in found.items() if not hosts]
            return f"{len(missing)} blobs are not stored" if missing else None

        wait_until(probe, 30, "the blobs to be stored")
        return found

    @contextmanager
    def killed(self, host: HostOfGroup) -> Iterator[None]:
        """Without it, from one moment to the next. At the end it works again, and the others ask it for blobs.

        nginx tries a server that has failed with one request. Those beside it go to the next, which fetches too.
        """
        host.machine.container.kill()
        try:
            yield
        finally:
            host.machine.start()
            host.wait_until_ready()
            self.wait_until_asked()

    def wait_until_asked(self) -> None:
        """Wait until no member leaves another one out that failed before."""
        wait_until(self._asked, 60, "each member to ask every other")

    def _asked(self) -> str | None:
        """A probe: the members that keep nothing of what is pulled through another one."""
        everyone, left = {host.number for host in self.hosts}, set[int]()
        for host in self.hosts:
            image = self.upstream.push(f"library/group-{secrets.token_hex(4)}", "1", [1000] * 12)
            host.mirror().pull(image.repo, image.reference)
            left |= everyone.difference(*self.wait_until_stored(*image.blobs).values())
        return f"members {left} are not asked" if left else None

    def collect(self, folder: Path) -> None:
        """Keep the evidence."""
        for member in self.options.members:
            machine = Machine.find(self.engine, member.host)
            if machine is not None:
                machine.collect(folder / member.host)

    def remove(self) -> None:
        """Remove all of it; raises when something is left."""
        if self.kept:
            return
        remove_labelled(self.engine, f"{RUN_LABEL}={self.options.name}")
        named: dict[str, Any] = {"name": self.options.name}
        left = [
            *(one.name for one in self.engine.containers.list(all=True, filters=named)),
            *(one.name for one in self.engine.networks.list(filters=named)),
            *(one.name for one in self.engine.volumes.list(filters=named)),
        ]
        if left:
            raise AssertionError(f"left behind by the tests: {', '.join(map(str, left))}")
