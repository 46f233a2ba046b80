"""Capabilities of a machine in a container: those of the engine, without those that affect the host outside.

`--privileged` is not an option: it requests every capability, which fails on an engine that lacks one, and it makes all
of /sys and /proc/sys writable.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException

from registry_stack.docker.run_once import run_once

# In the order of linux/capability.h: the index is the bit.
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
# Docker 20.10 does not know these.
_RECENT = CAPABILITIES[38:]
# These affect the host outside, not a namespace.
NEVER = ("SYS_MODULE", "SYS_RAWIO", "SYS_TIME", "SYS_BOOT")
# The engine's own bounding set, read where the engine runs: it may be a machine or a container away. Engines
# inside its containers are seen too: they have fewer capabilities, and the widest set (16 digits) is taken.
_PROBE = r"""
found=$(grep -lxs dockerd /proc/[0-9]*/comm | sed 's/comm$/status/')
cat ${found:-/proc/1/status} | grep CapBnd | sort | tail -n 1
echo "Last: $(cat /proc/sys/kernel/cap_last_cap)"
"""


def machine_privileges(client: docker.DockerClient, image: str) -> dict[str, Any]:
    """The arguments of containers.create for a container that runs systemd or an engine."""
    return {
        "cap_add": ["ALL"],
        "cap_drop": list(_to_drop(client, image)),
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"],
        "cgroupns": "private",
        "tmpfs": {"/run": "exec,mode=755", "/tmp": "exec,mode=1777"},
    }


@cache
def _to_drop(client: docker.DockerClient, image: str) -> tuple[str, ...]:
    """The capabilities to drop from ALL: those nobody should have, and those the engine cannot give."""
    names = list(capabilities_to_drop(_probe(client, image)))
    # An engine that does not know one refuses to drop it, and does not mean it by ALL.
    while set(names) & set(_RECENT):
        try:
            client.containers.create(image, cap_drop=names).remove(v=True)
            break
        except APIError as error:
            unknown = re.search(r'unknown capability: "CAP_(\w+)"', str(error))
            if unknown is None or unknown[1] not in names:
                raise
            names.remove(unknown[1])
    return tuple(names)


def capabilities_to_drop(probe_output: str) -> tuple[str, ...]:
    """Work out the names from the `CapBnd:` and `Last:` lines of the probe."""
    bounding = re.search(r"CapBnd:\s*([0-9a-f]+)", probe_output)
    last = re.search(r"Last: (\d+)", probe_output)
    if bounding is None or last is None:
        return NEVER
    bits, known = int(bounding[1], 16), CAPABILITIES[: int(last[1]) + 1]
    missing = [name for bit, name in enumerate(known) if not bits >> bit & 1]
    return tuple(dict.fromkeys([*NEVER, *missing]))


def _probe(client: docker.DockerClient, image: str) -> str:
    """Look with a throwaway container in the engine's own process name space, else at this process."""
    try:
        return run_once(client, image, ["-c", _PROBE], entrypoint=["/bin/sh"], pid_mode="host", network_mode="none")
    except DockerException:
        status, last = Path("/proc/self/status"), Path("/proc/sys/kernel/cap_last_cap")
        return f"{status.read_text()}\nLast: {last.read_text()}" if last.exists() else ""
