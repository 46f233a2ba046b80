"""Starts, inspects and removes the lab."""

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
from registry_stack.product import command_line
from registry_stack.progress import ProgressCallback, no_progress

_ADDED_S = 180


@dataclass(frozen=True)
class LabStatus:
    """A running lab: its readiness checks, its memory, and the folder with its credentials."""

    checks: list[Check]
    memory_mib: int
    folder: Path

    @property
    def healthy(self) -> bool:
        return all(check.passed for check in self.checks)

    def as_json(self) -> str:
        """One JSON object."""
        checks = {check.name: check.failure or True for check in self.checks}
        document = {
            "healthy": self.healthy,
            "checks": checks,
            "memory_mib": self.memory_mib,
            "folder": str(self.folder),
        }
        return json.dumps(document, indent=2)


def up(
    report: ProgressCallback = no_progress,
    cpu_shares: int | None = None,
    volumes: bool = False,
    load_balancers: bool = False,
    patience: float = 1,
) -> Path:
    """Start the lab if it is not running, wait until it is ready, and return the folder with its credentials.

    `volumes` adds Cinder and `load_balancers` Octavia, also to a lab that runs without them. A stopped lab cannot be
    resumed: it is removed and a fresh one is booted. `patience` multiplies every deadline, for a slow machine.
    """
    client = engine(report)
    found = Machine.find(client, settings.NAME)
    if found is not None and not found.running:
        report("the lab has stopped: removing it")
        found.remove()
        found = None
    machine = found or _boot(client, report, cpu_shares, volumes + load_balancers, patience)
    try:
        parameters = image_registry.ensure(client, report)
        waited = wait_until_ready(machine, DEADLINE_S * patience, report)
        if volumes:
            waited += _add(machine, "volumes", report, patience)
        if load_balancers:
            waited += _add(machine, "load-balancers", report, patience)
    except RegistryStackError as error:
        error.add_note(
            f"the lab was kept: inspect it with `docker exec -it {settings.NAME} bash`, then remove it with "
            f"`{command_line('lab', 'down')}`"
        )
        raise
    report(f"ready after {waited:.0f} s")
    return credentials.write(machine, parameters)


def _boot(
    client: docker.DockerClient, report: ProgressCallback, cpu_shares: int | None, added: int, patience: float
) -> Machine:
    """Boot a fresh lab, to which so many parts are to be added; build its image first if necessary."""
    image = lab_image(client, report, patience)
    requirements.check_memory(client, settings.MEMORY_MIB + added * settings.ADDED_MIB)
    requirements.check_disk(client, settings.DISK_GIB, "to run the lab")
    container.ensure_network(client)
    _forget_deployments()
    return container.boot(client, image, report, cpu_shares)


def _add(machine: Machine, what: str, report: ProgressCallback, patience: float) -> float:
    """Start what not every lab needs; return the seconds waited until it was ready."""
    report(f"adding {what}")
    machine.exec([f"/usr/share/lab/{what}"], timeout=_ADDED_S * patience)
    return wait_until_ready(machine, DEADLINE_S * patience, report)


def down() -> list[str]:
    """Remove the lab, running or crashed, with its registry, network and credentials; return what was removed.

    Its images are kept for the next `up`.
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
    """Forget the stacks on the lab; return them."""
    return [f"stack {name}" for name in forget_all(settings.TARGET)]


def status() -> LabStatus:
    """Run the readiness checks of the running lab."""
    machine = running_lab(engine())
    stats: Any = machine.container.stats(stream=False)
    usage: dict[str, Any] = stats["memory_stats"]
    # Without the page cache, as `docker stats` counts.
    detail = usage.get("stats", {})
    cache = int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))
    return LabStatus(Lab(machine).checks(), (int(usage.get("usage", 0)) - cache) >> 20, settings.state().folder)


def shell() -> None:
    """Replace this process by a shell in the lab, as root with the administrator's credentials."""
    running_lab(engine())
    program = shutil.which("docker")
    if program is None:
        raise RegistryStackError("this needs the `docker` command, which is not installed: install Docker's CLI")
    os.execv(program, [program, "exec", "-it", settings.NAME, "bash", "-l"])


def openrc() -> str:
    """The operator's openrc, for `eval`."""
    running_lab(engine())
    path = settings.state().folder / credentials.OPENRC
    if not path.exists():
        raise RegistryStackError(f"{path} is missing: run `{command_line('lab', 'up')}`, which writes it")
    return f"export OS_CLIENT_CONFIG_FILE={path.with_name(credentials.CLOUDS)}\n" + path.read_text()


def running_lab(client: docker.DockerClient) -> Machine:
    """The lab's machine; raises RegistryStackError when it is not running."""
    machine = Machine.find(client, settings.NAME)
    if machine is None or not machine.running:
        raise RegistryStackError(f"no lab is running: run `{command_line('lab', 'up')}`")
    return machine
