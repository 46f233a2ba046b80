"""What a host uses: memory, file descriptors and disk."""

from dataclasses import dataclass
from typing import Any

from registry_stack.docker.machine import Machine

# One number per line: open descriptors of all processes, KiB used by the cache and the pushed images.
_SAMPLE = "ls -U /proc/[0-9]*/fd 2>/dev/null | grep -c '^[0-9]'; df -k --output=used /var/lib/registry | tail -n 1"


@dataclass(frozen=True)
class Sample:
    """MiB of memory that cannot be reclaimed, open file descriptors, MiB of disk."""

    memory_mib: float
    descriptors: int
    disk_mib: float


def sample(host: Machine) -> Sample:
    """Measure once."""
    descriptors, disk_kib = host.exec(["sh", "-c", _SAMPLE]).out.split()
    return Sample(memory_mib(host), int(descriptors), int(disk_kib) / 1024)


def memory_mib(machine: Machine) -> float:
    """MiB that a machine's processes and containers use together, without the page cache."""
    stats: Any = machine.container.stats(stream=False)
    memory = stats["memory_stats"]
    details = memory["stats"]
    # cgroup v1 names the totals of the subtree differently.
    prefix = "total_" if "total_rss" in details else ""
    page_cache = details[f"{prefix}active_file"] + details[f"{prefix}inactive_file"]
    return float(memory["usage"] - page_cache) / (1 << 20)
