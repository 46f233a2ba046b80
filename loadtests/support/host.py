"""The host of a local deployment, from outside: its services killed, its memory, descriptors and disk watched."""

import time
from dataclasses import dataclass
from typing import Any

from loadtests.support.metrics import Failure
from loadtests.support.mirror import Mirror
from registry_stack.deployment import Deployment
from registry_stack.docker.machine import Machine
from registry_stack.endpoint import get_status
from registry_stack.errors import RegistryStackError
from registry_stack.polling import wait_until
from registry_stack.targets.local.target import find_host

BACK_S = 60
# What is killed in turn.
KILLED = ("docker-redis", "docker-registry-proxy", "docker-registry-edge")
# One number a line: open descriptors of all processes, KiB used where the cache and the pushed images are.
_SAMPLE = "ls -U /proc/[0-9]*/fd 2>/dev/null | grep -c '^[0-9]'; df -k --output=used /var/lib/registry | tail -n 1"


@dataclass(frozen=True)
class Outage:
    """A service was killed and came back: seconds of time.monotonic()."""

    service: str
    killed: float
    back: float

    @property
    def seconds(self) -> float:
        """How long it was away."""
        return self.back - self.killed

    def explains(self, failure: Failure) -> bool:
        """Was this request in flight on the service when it was killed, or sent to it while it was away?

        Nobody speaks to redis but the registries, which do without it, and wrong bytes have no excuse.
        """
        overlaps = failure.sent <= self.back and failure.failed >= self.killed
        return overlaps and not failure.wrong and self.service != "docker-redis"


@dataclass(frozen=True)
class Sample:
    """What the host uses: MiB that cannot be reclaimed, open file descriptors, MiB of disk."""

    memory_mib: float
    descriptors: int
    disk_mib: float


def host_of(mirror: Mirror) -> Machine:
    """The machine; RegistryStackError when the mirror is not a deployment on the engine here."""
    if mirror.deployment is None or mirror.deployment.target != "local":
        raise RegistryStackError(
            f"{mirror.url} is not a local deployment, whose services could be reached: use --own-mirror"
        )
    return find_host(mirror.deployment.name)


def kill(host: Machine, deployment: Deployment, service: str) -> Outage:
    """Kill a service's process at once, as a crash would; systemd brings it back."""
    before = _started(host, service)
    killed = time.monotonic()
    host.exec(["docker", "kill", service])
    wait_until(lambda: _back(host, deployment, service, before), BACK_S, f"{service} to be back", poll_s=0.1)
    return Outage(service, killed, time.monotonic())


def sample(host: Machine) -> Sample:
    """Look once."""
    found = host.exec(["sh", "-c", _SAMPLE]).out.split()
    return Sample(memory_mib(host), int(found[0]), int(found[1]) / 1024)


def memory_mib(machine: Machine) -> float:
    """What a machine uses, all its processes and containers together, without the page cache of files."""
    found: Any = machine.container.stats(stream=False)
    used = found["memory_stats"]
    details = used["stats"]
    # cgroup v1 has totals of the subtree under names of their own.
    prefix = "total_" if "total_rss" in details else ""
    files = details[f"{prefix}active_file"] + details[f"{prefix}inactive_file"]
    return float(used["usage"] - files) / (1 << 20)


def _started(host: Machine, service: str) -> str:
    return host.exec(["docker", "inspect", "--format", "{{.State.StartedAt}}", service], check=False).out.strip()


def _back(host: Machine, deployment: Deployment, service: str, before: str) -> str | None:
    """A probe: another process, whose unit counts as started, behind a front door that answers."""
    if _started(host, service) in ("", before):
        return "not started again"
    state = host.exec(["systemctl", "is-active", service], check=False).out.strip()
    if state != "active":
        return state
    code = get_status(deployment, deployment.mirror_url)
    return None if code == 200 else f"HTTP {code}"
