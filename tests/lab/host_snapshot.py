"""The machine outside, as far as a lab could change it, to be compared before and after."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

# Values that change by themselves, or with every container that somebody starts.
_VOLATILE = re.compile(
    r"/(random/.*|file-nr|inode-nr|inode-state|dentry-state|pty/nr|ns_last_pid|nf_conntrack_count|dquot.*|aio-nr"
    r"|epoll/.*|flush|route/flush|tainted|user/max_.*|sched_.*|numa_.*|stat_refresh|quota/syncs|drop_caches|compact_memory)$"
)
_PER_INTERFACE = re.compile(r"/net/ipv[46]/(conf|neigh)/(?!all/|default/)")
# Of other Docker networks, with their comings and goings. What is the lab's own is asked for by `mentions`.
_DOCKERS = re.compile(r"\b(br-\w+|veth\w+|10\.(?!77\.30\.)\d|172\.(1[6-9]|2\d|3[01])\.|192\.168\.)")


def snapshot() -> dict[str, set[str]]:
    """Sysctls, interfaces, routes, rules and packet filters of this machine, one line each."""
    return {
        "sysctls": _sysctls(),
        "interfaces": _stable(path.name for path in Path("/sys/class/net").iterdir()),
        "routes": _stable(_lines("ip", "route", "show", "table", "all") | _lines("ip", "-6", "route", "show")),
        "rules": _lines("ip", "rule") | _lines("ip", "-6", "rule"),
        "filters": _stable(_filters("iptables-save") | _filters("ip6tables-save")),
        "modules": {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}
        if Path("/proc/modules").exists()
        else set(),
    }


def differences(before: dict[str, set[str]], after: dict[str, set[str]]) -> list[str]:
    """What was added (+) and what is gone (-), in words for an assertion."""
    return [
        f"{kind}: {sign}{line}"
        for kind in before
        for sign, lines in (("+", after[kind] - before[kind]), ("-", before[kind] - after[kind]))
        for line in sorted(lines)
    ]


def mentions(word: str) -> list[str]:
    """Every interface, address, route and filter rule here that mentions `word`."""
    every = [_lines("ip", "-o", "address"), _lines("ip", "route", "show", "table", "all")]
    every += [_filters(command) for command in ("iptables-save", "ip6tables-save")]
    return sorted(line for lines in every for line in lines if word in line)


def processes_of(container_id: str) -> list[str]:
    """Command lines of the processes in a container's cgroups."""
    found = []
    for cgroup in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if container_id in cgroup.read_text():
                found.append(cgroup.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def _sysctls() -> set[str]:
    lines = set()
    for path in Path("/proc/sys").rglob("*"):
        name = str(path)
        if _VOLATILE.search(name) or _PER_INTERFACE.search(name) or not path.is_file():
            continue
        try:
            lines.add(f"{name}={path.read_text(errors='replace').strip()}")
        except OSError:
            continue
    assert len(lines) > 300, "the sysctls of this machine could not be read"
    return lines


def _lines(*command: str) -> set[str]:
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


def _filters(command: str) -> set[str]:
    """Rules without their counters and without the comments that say when."""
    return {re.sub(r"\[\d+:\d+\]", "", line) for line in _lines(command) if not line.startswith("#")}


def _stable(lines: Iterable[str]) -> set[str]:
    return {line for line in lines if not _DOCKERS.search(line)}
