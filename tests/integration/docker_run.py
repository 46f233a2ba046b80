"""The arguments of `docker run`, as the host's own scripts put them together, as a container of testcontainers."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

# What is asked of a file on the host, wherever the test keeps it.
ReadHostFile = Callable[[str], str]


@dataclass(frozen=True)
class Surroundings:
    """Where a container of the host is put instead: the folder that stands for `/`, a network, a prefix, labels."""

    root: Path
    network: Network
    prefix: str
    labels: Mapping[str, str]
    read: ReadHostFile


class UnknownArgumentError(ValueError):
    """An option of `docker run` that is not translated here: it must not be ignored silently."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UnknownArgumentError(f"docker_run.py does not translate this: {message}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="docker run", allow_abbrev=False, add_help=False)
    for switch in ("--rm", "--read-only"):
        parser.add_argument(switch, action="store_true")
    for option in ("--name", "--hostname", "--network", "--log-driver", "--user", "--memory", "--entrypoint"):
        parser.add_argument(option)
    parser.add_argument("--pids-limit", type=int)
    for several in ("--tmpfs", "--cap-drop", "--security-opt", "--volume", "--env", "--env-file", "--publish"):
        parser.add_argument(several, action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def container_name(arguments: Sequence[str]) -> str:
    """The `--name` in the arguments."""
    return str(_parser().parse_args(arguments).name)


def translate(arguments: Sequence[str], around: Surroundings) -> DockerContainer:
    """The container that `docker run ARGUMENTS` would start on the host, ready to be started here.

    Only what must differ does: names, networks and ports are this run's own, host paths lie below a folder, and
    the logs are kept (`--log-driver none` and `--rm` leave them to the journal).
    """
    given = _parser().parse_args(arguments)
    container = DockerContainer(
        given.image,
        command=given.command or None,
        env=_environment(given, around.read),
        name=f"{around.prefix}-{given.name}",
        network=around.network,
        network_aliases=[given.name],
        ports=[int(published.rpartition(":")[2]) for published in given.publish],
        **_kwargs(given, around.labels),
    )
    for volume in given.volume:
        source, inside, *mode = volume.split(":")
        container.with_volume_mapping(f"{around.root}{source}", inside, mode[0] if mode else "rw")
    for mount in given.tmpfs:
        path, _colon, options = mount.partition(":")
        container.with_tmpfs_mount(path, options)
    return container


def _kwargs(given: argparse.Namespace, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "hostname": given.hostname,
        "user": given.user,
        "read_only": given.read_only,
        "mem_limit": given.memory,
        "pids_limit": given.pids_limit,
        "cap_drop": given.cap_drop,
        "security_opt": given.security_opt,
        "labels": dict(labels),
        **({"entrypoint": [given.entrypoint]} if given.entrypoint else {}),
    }


def _environment(given: argparse.Namespace, read: ReadHostFile) -> dict[str, str]:
    """As Docker reads them: the files first, each line NAME=value taken as it is."""
    lines = [line for path in given.env_file for line in read(path).splitlines() if line and line[0] != "#"]
    pairs = (line.partition("=") for line in [*lines, *given.env])
    return {name: value for name, _equals, value in pairs}
