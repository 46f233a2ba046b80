"""Describes the machine that a benchmark ran on, for the report."""

import os
import platform
from pathlib import Path

import docker


def describe(client: docker.DockerClient) -> dict[str, str]:
    """What matters for the figures, by name."""
    info = client.info()
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{info['MemTotal'] / (1 << 30):.0f} GiB",
        "system": f"{info['OperatingSystem']}, Linux {platform.release()}",
        "Docker": f"{info['ServerVersion']}, {info['Driver']}",
        "load average before the run": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
