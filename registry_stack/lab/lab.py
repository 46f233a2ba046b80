"""Bringing the lab up and down, and looking at it."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from registry_stack.deployment import forget_all
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, remove_labelled
from registry_stack.errors import RegistryStackError
from registry_stack.lab import container, credentials, image_registry, requirements, settings
from registry_stack.lab.build import lab_image
from registry_stack.lab.readiness import DEADLINE_S, Check, Lab, wait_until_ready
from registry_stack.progress import ProgressCallback, no_progress

_VOLUMES_S = 180


@dataclass(frozen=True)
class LabStatus:
    """A lab that is there: what holds of it, what it uses, where its credentials are."""

    facts: list[Check]
    memory_mib: int
    folder: Path

    @property
    def healthy(self) -> bool:
        """Is it ready to be used?"""
        return all(fact.holds for fact in self.facts)

    def as_json(self) -> str:
        """One JSON object."""
        facts = {fact.name: fact.missing or True for fact in self.facts}
        document = {"healthy": self.healthy, "facts": facts, "memory_mib": self.memory_mib, "folder": str(self.folder)}
        return json.dumps(document, indent=2)


def up(
    report: ProgressCallback = no_progress,
    cpu_shares: int | None = None,
    volumes: bool = False,
    patience: float = 1,
) -> Path:
    """Bring the lab up unless it is, and return the folder with its credentials once it is ready.

    `volumes` adds Cinder, to one that runs without it as well. A lab that has stopped is no more: it is removed, and a
    fresh one booted. `patience` multiplies every deadline, for a machine that is slow.
    """
    client = engine(report)
    found = Machine.find(client, settings.NAME)
    if found is not None and not found.running:
        report("the lab has stopped: removing what is left of it")
        found.remove()
        found = None
    machine = found or _boot(client, report, cpu_shares, volumes, patience)
    try:
        parameters = image_registry.ensure(client, report)
        waited = wait_until_ready(machine, DEADLINE_S * patience, report)
        if volumes:
            waited += _add_volumes(machine, report, patience)
    except RegistryStackError as error:
        error.add_note(f"what is there of it stays: look with `docker exec -it {settings.NAME} bash`, then `lab down`")
        raise
    report(f"ready after {waited:.0f} s")
    return credentials.write(machine, parameters)


def _boot(
    client: docker.DockerClient, report: ProgressCallback, cpu_shares: int | None, volumes: bool, patience: float
) -> Machine:
    """Boot a fresh lab, after building its image if need be."""
    image = lab_image(client, report, patience)
    requirements.check_memory(client, settings.MEMORY_MIB + (settings.VOLUMES_MIB if volumes else 0))
    requirements.check_disk(client, settings.DISK_GIB, "to run the lab")
    container.ensure_network(client)
    _forget_deployments()
    return container.boot(client, image, report, cpu_shares)


def _add_volumes(machine: Machine, report: ProgressCallback, patience: float) -> float:
    """Start Ceph and Cinder; return the seconds waited until a volume could be made."""
    report("starting Ceph and Cinder")
    machine.exec(["/usr/share/lab/volumes"], timeout=_VOLUMES_S * patience)
    return wait_until_ready(machine, DEADLINE_S * patience, report)


def down() -> list[str]:
    """Remove the lab, running or crashed, with its registry, its network and its credentials; return what went.

    Its images stay: they are the cache of the next `up`.
    """
    client = engine()
    gone = remove_labelled(client, f"{settings.LABEL}={settings.NAME}", networks=False)
    if container.remove_network(client):
        gone.append(f"network {settings.NAME}")
    state = settings.state()
    if state.folder.exists():
        state.remove()
        gone.append(str(state.folder))
    return [*gone, *_forget_deployments()]


def _forget_deployments() -> list[str]:
    """The stacks that were in a lab went with it."""
    return [f"stack {name}" for name in forget_all(settings.TARGET)]


def status() -> LabStatus:
    """Ask the running lab for every fact that makes it ready."""
    machine = running_lab(engine())
    stats: Any = machine.container.stats(stream=False)
    usage: dict[str, Any] = stats["memory_stats"]
    # As `docker stats` counts: the page cache is not the lab's to keep.
    detail = usage.get("stats", {})
    cache = int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))
    return LabStatus(Lab(machine).facts(), (int(usage.get("usage", 0)) - cache) >> 20, settings.state().folder)


def shell() -> None:
    """Become a shell inside the lab, as root and with the administrator's credentials."""
    running_lab(engine())
    program = shutil.which("docker")
    if program is None:
        raise RegistryStackError("a shell needs the `docker` command, which is not installed here")
    os.execv(program, [program, "exec", "-it", settings.NAME, "bash", "-l"])


def openrc() -> str:
    """The running lab's openrc, for `eval`."""
    running_lab(engine())
    path = settings.state().folder / credentials.OPENRC
    if not path.exists():
        raise RegistryStackError(f"{path} is not there: run `tox -e lab -- up`, which writes it")
    return f"export OS_CLIENT_CONFIG_FILE={path.with_name(credentials.CLOUDS)}\n" + path.read_text()


def running_lab(client: docker.DockerClient) -> Machine:
    """The lab's machine; a RegistryStackError says how to get one."""
    machine = Machine.find(client, settings.NAME)
    if machine is None or not machine.running:
        raise RegistryStackError("no lab is running: run `tox -e lab -- up`")
    return machine
