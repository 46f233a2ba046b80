"""Checks memory and disk before the lab starts: without them it fails late and for unclear reasons."""

import shutil
from pathlib import Path

import docker

from registry_stack.errors import RegistryStackError
from registry_stack.lab import settings

_GIB = 1 << 30


def check_memory(client: docker.DockerClient, needed_mib: int = settings.MEMORY_MIB) -> None:
    """Raise RegistryStackError when the Docker host has too little memory for the lab and one server."""
    total = int(client.info()["MemTotal"]) >> 20
    free, kind = _available_mib(total)
    if free < needed_mib:
        raise RegistryStackError(
            f"the lab with one server needs {needed_mib} MiB of memory, and the Docker host has {free} MiB {kind}: "
            "free some, or use a larger machine"
        )


def _available_mib(engine_total_mib: int) -> tuple[int, str]:
    """The available memory if the engine runs on this machine, else the total of the Docker host."""
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    here = {line.split(":")[0]: int(line.split()[1]) >> 10 for line in lines if line.endswith("kB")}
    if abs(here.get("MemTotal", 0) - engine_total_mib) > 1:
        return engine_total_mib, "in total"
    return here["MemAvailable"], "available"


def check_disk(client: docker.DockerClient, gib: int, purpose: str) -> None:
    """Raise RegistryStackError when Docker's disk has less than `gib` left; not checked for a remote engine."""
    root = Path(str(client.info()["DockerRootDir"]))
    if not root.is_dir():
        return
    free = shutil.disk_usage(root).free
    if free < gib * _GIB:
        raise RegistryStackError(
            f"{gib} GiB of disk are needed {purpose}, and {root} has {free / _GIB:.1f} GiB left: free some"
        )
