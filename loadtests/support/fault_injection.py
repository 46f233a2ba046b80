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
from registry_stack.targets.local.target import find_host

RESTART_DEADLINE_S = 60


@dataclass(frozen=True)
class Outage:
    """When a service was killed and when it was available again, in seconds of time.monotonic()."""

    service: str
    killed: float
    recovered: float

    @property
    def seconds(self) -> float:
        """How long the service was unavailable."""
        return self.recovered - self.killed

    def explains(self, failure: Failure) -> bool:
        """Whether a request failed because the service was killed under it or still unavailable.

        Redis has no clients but the registries, which work without it, and nothing excuses wrong bytes.
        """
        overlaps = failure.sent <= self.recovered and failure.failed >= self.killed
        return overlaps and not failure.wrong and self.service != "docker-redis"


def local_host(mirror: Mirror) -> Machine:
    """The mirror's host; RegistryStackError unless the mirror is a local deployment."""
    if mirror.deployment is None or mirror.deployment.target != "local":
        raise RegistryStackError(
            f"{mirror.url} is not a local deployment, so its host cannot be accessed: use --own-mirror"
        )
    return find_host(mirror.deployment.name)


def kill_service(host: Machine, deployment: Deployment, service: str) -> Outage:
    """Kill a service's process as a crash would, and wait until systemd has restarted it."""
    before = _started_at(host, service)
    killed = time.monotonic()
    host.exec(["docker", "kill", service])
    wait_until(
        lambda: _probe_restarted(host, deployment, service, before),
        RESTART_DEADLINE_S,
        f"{service} to restart",
        poll_s=0.1,
    )
    return Outage(service, killed, time.monotonic())


def _started_at(host: Machine, service: str) -> str:
    return host.exec(["docker", "inspect", "--format", "{{.State.StartedAt}}", service], check=False).out.strip()


def _probe_restarted(host: Machine, deployment: Deployment, service: str, before: str) -> str | None:
    """A probe: a new process whose unit is active, behind an edge that answers."""
    if _started_at(host, service) in ("", before):
        return "not started again"
    state = host.exec(["systemctl", "is-active", service], check=False).out.strip()
    if state != "active":
        return state
    code = get_status(deployment, deployment.mirror_url)
    return None if code == 200 else f"HTTP {code}"
