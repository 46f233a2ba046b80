"""Faults on the host of a local deployment: its services are killed, and systemd restarts them."""

import time
from dataclasses import dataclass

from loadtests.support.metrics import Failure
from loadtests.support.mirror import Mirror
from registry_stack.deployment import Deployment
from registry_stack.docker.machine import Machine
from registry_stack.endpoint import get_status
from registry_stack.errors import RegistryStackError
from registry_stack.polling import wait_until
from registry_stack.progress import no_progress
from registry_stack.targets.local.rollout import wait_until_ready
from registry_stack.targets.local.target import find_host

RESTART_DEADLINE_S = 60


@dataclass(frozen=True)
class Outage:
    """When a service was killed and when it was available again, in seconds of time.monotonic().

    `urls` are those of the member of a group that it belongs to; empty: of all there are.
    """

    service: str
    killed: float
    recovered: float
    urls: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        """How long the service was unavailable."""
        return self.recovered - self.killed

    def explains(self, failure: Failure) -> bool:
        """Whether a request failed because the service was killed under it or still unavailable.

        Redis has no clients but the registries, which work without it, and nothing excuses wrong bytes. Nor does the
        outage of one member explain what failed at others as well.
        """
        overlaps = failure.sent <= self.recovered and failure.failed >= self.killed
        here = not self.urls or failure.urls <= self.urls
        return overlaps and here and not failure.wrong and self.service != "docker-redis"


@dataclass(frozen=True)
class LocalHost:
    """A host of a local deployment, and the URLs of its mirror and its registry."""

    machine: Machine
    mirror_url: str
    registry_url: str

    @property
    def urls(self) -> frozenset[str]:
        """Both."""
        return frozenset({self.mirror_url, self.registry_url})


def local_host(mirror: Mirror) -> Machine:
    """The mirror's host, of a group the first; RegistryStackError unless the mirror is a local deployment."""
    return local_hosts(mirror)[0].machine


def local_hosts(mirror: Mirror) -> list[LocalHost]:
    """All hosts of the mirror; RegistryStackError unless it is a local deployment."""
    if mirror.deployment is None or mirror.deployment.target != "local":
        raise RegistryStackError(
            f"{mirror.url} is not a local deployment, so its host cannot be accessed: use --own-mirror"
        )
    known = mirror.deployment
    if not known.members:
        return [LocalHost(find_host(known.name), known.mirror_url, known.registry_url)]
    return [LocalHost(find_host(one.name), one.mirror_url, one.registry_url) for one in known.members]


def kill_service(host: LocalHost, deployment: Deployment, service: str) -> Outage:
    """Kill a service's process as a crash would, and wait until systemd has restarted it."""
    before = _started_at(host.machine, service)
    killed = time.monotonic()
    host.machine.exec(["docker", "kill", service])
    wait_until(
        lambda: _probe_restarted(host, deployment, service, before),
        RESTART_DEADLINE_S,
        f"{service} to restart",
        poll_s=0.1,
    )
    return Outage(service, killed, time.monotonic(), host.urls)


def kill_host(host: LocalHost, deployment: Deployment, away_s: float) -> Outage:
    """Kill a host as a power cut would, boot it again after a while, and wait until it works."""
    killed = time.monotonic()
    host.machine.container.kill()
    time.sleep(away_s)
    host.machine.start()
    wait_until_ready(host.machine, no_progress)
    wait_until(lambda: _probe_url(deployment, host.mirror_url), RESTART_DEADLINE_S, host.mirror_url)
    return Outage(host.machine.name, killed, time.monotonic(), host.urls)


def _started_at(host: Machine, service: str) -> str:
    return host.exec(["docker", "inspect", "--format", "{{.State.StartedAt}}", service], check=False).out.strip()


def _probe_restarted(host: LocalHost, deployment: Deployment, service: str, before: str) -> str | None:
    """A probe: a new process whose unit is active, behind an edge that answers."""
    if _started_at(host.machine, service) in ("", before):
        return "not started again"
    state = host.machine.exec(["systemctl", "is-active", service], check=False).out.strip()
    return state if state != "active" else _probe_url(deployment, host.mirror_url)


def _probe_url(deployment: Deployment, url: str) -> str | None:
    code = get_status(deployment, url)
    return None if code == 200 else f"HTTP {code}"
