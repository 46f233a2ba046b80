"""Replaces the host, and brings the previous one back when the new one does not work."""

import contextlib
import json
from collections.abc import Sequence

import docker
from docker.errors import DockerException

from registry_stack.deployment import State
from registry_stack.docker.machine import Machine, MachineSpec, remove_labelled
from registry_stack.errors import RegistryStackError
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.local.options import DEPLOYMENT_LABEL, READY_DEADLINE_S, LocalOptions

UNITS = ("docker-redis", "docker-registry", "docker-registry-edge", "docker-registry-fetch", "docker-registry-proxy")
READY = "/run/registry/ready.json"


def _previous(options: LocalOptions) -> str:
    return f"{options.host}-previous"


def recover_interrupted_rollout(client: docker.DockerClient, options: LocalOptions) -> None:
    """Clean up after a deploy that was killed halfway: the old host comes back unless the new one works."""
    old, new = Machine.find(client, _previous(options)), Machine.find(client, options.host)
    if old is None:
        return
    if new is not None and new.running and read_readiness_report(new).get("status") == "SUCCESS":
        old.remove()
        return
    if new is not None:
        new.remove()
    old.container.rename(options.host)


def replace_with_rollback(
    client: docker.DockerClient, options: LocalOptions, spec: MachineSpec, deadline_s: float, report: ProgressCallback
) -> Machine:
    """Replace the old host by a new one; bring the old one back if the new one does not work."""
    old = Machine.find(client, options.host)
    was_running = old is not None and old.running
    fresh = not client.volumes.list(filters={"name": f"^{options.volume}$"})
    try:
        if old is not None:
            report("what the host is made from has changed, not only settings: stopping it to replace it")
            old.container.stop(timeout=30)
            old.container.rename(_previous(options))
        machine = Machine.boot(client, spec, report)
        wait_until_ready(machine, report, deadline_s)
    except BaseException as error:
        _undo(client, options, error, old, was_running, fresh)
        raise
    if old is not None:
        old.remove()
    return machine


def boot_group(
    client: docker.DockerClient,
    specs: Sequence[tuple[LocalOptions, MachineSpec]],
    deadline_s: float,
    report: ProgressCallback,
) -> None:
    """Boot new hosts of a group at once, and wait for each; none of them stays when one does not work."""
    volumes = {volume.name for volume in client.volumes.list()}
    try:
        for _member, spec in specs:
            Machine.boot(client, spec, report)
        for member, _spec in specs:
            machine = Machine.existing(client, member.host)
            wait_until_ready(machine, prefixed(member.host, report), deadline_s)
    except BaseException as error:
        for member, _spec in specs:
            failed = Machine.find(client, member.host)
            if failed is not None and _discard(failed, member, error) and member.volume not in volumes:
                client.volumes.get(member.volume).remove(force=True)
        raise


def prefixed(name: str, report: ProgressCallback) -> ProgressCallback:
    """Reports what one of several hosts does."""
    return lambda line: report(line if line.startswith(name) else f"{name}: {line}")


def _undo(
    client: docker.DockerClient,
    options: LocalOptions,
    error: BaseException,
    old: Machine | None,
    was_running: bool,
    fresh: bool,
) -> None:
    """After a failed or interrupted boot: keep its logs, remove it, bring the old host back."""
    failed = Machine.find(client, options.host)
    if failed is not None and old is not None and failed.container.id == old.container.id:
        # Interrupted while it was being stopped, the old host still has its name.
        failed = None
    if failed is not None and not _discard(failed, options, error):
        return
    if old is not None:
        old.container.reload()
        if old.name != options.host:
            old.container.rename(options.host)
        if was_running:
            old.container.start()
            with contextlib.suppress(RegistryStackError):
                wait_until_ready(old, no_progress)
            error.add_note("the previous host is running again")
    elif fresh:
        remove_all(client, options, error)


def remove_all(client: docker.DockerClient, options: LocalOptions, error: BaseException) -> None:
    """Remove what a first deploy has made before it failed with this error."""
    try:
        remove_labelled(client, f"{DEPLOYMENT_LABEL}={options.name}")
    except DockerException as trouble:
        # A container of somebody else's in its network, say. What went wrong before is still the error.
        error.add_note(f"not everything of it could be removed: {trouble}")


def _discard(failed: Machine, options: LocalOptions, error: BaseException) -> bool:
    """Keep the logs of what failed, and remove it; returns False where it is to be kept."""
    _keep_logs(failed, options, error)
    if options.keep_on_failure:
        error.add_note(f"it was kept: docker exec -it {options.host} bash")
        return False
    failed.remove()
    return True


def _keep_logs(failed: Machine, options: LocalOptions, error: BaseException) -> None:
    """Save the diagnostics; a failure to do so must not keep the old host from coming back."""
    logs = State(options.name).folder / (f"failed-{options.number}" if options.number else "failed")
    try:
        failed.collect(logs)
    except (DockerException, OSError, RegistryStackError) as trouble:
        error.add_note(f"its logs could not be kept: {trouble}")
    else:
        error.add_note(f"its logs are in {logs}")


def wait_until_ready(
    machine: Machine, report: ProgressCallback, deadline_s: float = READY_DEADLINE_S, hint: str = ""
) -> None:
    """Wait for registry-ready's own verdict, naming each unit as it comes up.

    `hint` says where to look when that does not come; not into a host that will be removed for it.
    """
    seen: set[str] = set()

    def probe() -> str | None:
        if not machine.running:
            raise RegistryStackError(f"{machine.name} has stopped: {machine.logs()[-500:]}")
        up = _units_up(machine)
        for unit in sorted(up - seen):
            report(f"{unit} answers")
        if len(up) == len(UNITS) > len(seen):
            report("trying a push and a pull")
        seen.update(up)
        status = read_readiness_report(machine)
        if status.get("status") == "FAILURE":
            raise RegistryStackError(f"the host does not work: {status['reason']}")
        return None if status else f"{len(up)} of {len(UNITS)} services answer"

    hint = f"{hint + '; ' if hint else ''}give a slower machine more time with -P ready_timeout_seconds=SECONDS"
    wait_until(probe, deadline_s, f"a push and a pull on {machine.name}", hint=hint)


def _units_up(machine: Machine) -> set[str]:
    states = machine.exec(["systemctl", "is-active", *UNITS], check=False).out.split()
    return {unit for unit, state in zip(UNITS, states, strict=False) if state == "active"}


def read_readiness_report(machine: Machine) -> dict[str, str]:
    """The verdict of registry-ready: `status` and `reason`; empty before there is one."""
    result = machine.exec(["cat", READY], check=False)
    return dict(json.loads(result.out)) if result.code == 0 else {}
