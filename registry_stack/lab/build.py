"""Builds the lab's image in stages, each of them again only when its inputs have changed.

packages (Debian's OpenStack) → services (configured, with databases and accounts) → seeded (booted once to create
networks, flavors and images, then committed as an image). The guest image is built beside them.
"""

import contextlib
import hashlib

import docker
from docker.errors import APIError

from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.images.base import base_image
from registry_stack.images.build import INPUTS_LABEL, PROJECT, ensure_built
from registry_stack.images.pull import present
from registry_stack.lab import container, diagnostics, readiness, requirements, settings
from registry_stack.progress import ProgressCallback, no_progress

# Why not trixie: docs/lab.md.
SUITE = "bookworm"
# The suite of the servers: newer than that of the local target's host, with cgroup v2. Its cloud-init starts Python
# once, bookworm's four times.
GUEST_SUITE = "trixie"
_GUEST_FOLDER = "/var/tmp"
_SEED_READY_S = 400
_SEED_S = 300
_STOP_S = 90


def lab_image(client: docker.DockerClient, report: ProgressCallback = no_progress, patience: float = 1) -> str:
    """Return the tag of the lab's image, and build its missing stages first; `patience` multiplies the deadlines."""
    base = base_image(client, SUITE, report)
    packages = _stage(client, "lab-packages", base, report)
    services = _stage(client, "lab", packages, report)
    guest = _stage(client, "guest", base_image(client, GUEST_SUITE, report), report)
    digest = hashlib.sha256(f"{services}\0{guest}".encode()).hexdigest()[:12]
    tag = f"{PROJECT}/lab-seeded:{digest}"
    if not present(client, tag):
        _seed(client, services, guest, digest, report, patience)
        _remove_older(client, keep={packages, services, guest, tag})
    return tag


def _stage(client: docker.DockerClient, name: str, base: str, report: ProgressCallback) -> str:
    """The tag of one stage, built if it is missing."""
    return ensure_built(
        client, name, base, report, lambda: requirements.check_disk(client, settings.DISK_BUILD_GIB, "to build the lab")
    )


def _seed(
    client: docker.DockerClient, services: str, guest: str, digest: str, report: ProgressCallback, patience: float
) -> None:
    """Boot the unseeded lab, create what needs all services running, and commit the result as an image."""
    requirements.check_memory(client)
    container.ensure_network(client)
    machine = container.boot(client, services, report)
    try:
        readiness.wait_until_ready(machine, _SEED_READY_S * patience, report, zone=None)
        report("seeding: images, networks, flavors, DNS zone")
        _copy_guest(client, machine, guest)
        machine.exec(["/usr/share/lab/seed", f"{_GUEST_FOLDER}/guest"], timeout=_SEED_S * patience)
        machine.exec(["rm", "-r", f"{_GUEST_FOLDER}/guest"])
        report("stopping the lab cleanly, to commit it as an image")
        machine.container.stop(timeout=_STOP_S)
        machine.container.commit(f"{PROJECT}/lab-seeded", digest, changes=f"LABEL {INPUTS_LABEL}={digest}")
    except RegistryStackError as error:
        error.add_note(f"the services' logs are in {diagnostics.save_logs(machine)}")
        raise
    finally:
        machine.remove()
        container.remove_network(client)


def _remove_older(client: docker.DockerClient, keep: set[str]) -> None:
    """Remove the images of older inputs, GBs each, which the next build cannot use."""
    for repository in {tag.rpartition(":")[0] for tag in keep}:
        for tag in {tag for image in client.images.list(repository) for tag in image.tags} - keep:
            # Docker refuses while a container uses it.
            with contextlib.suppress(APIError):
                client.images.remove(tag)


def _copy_guest(client: docker.DockerClient, machine: Machine, guest: str) -> None:
    """Copy the guest image from the container image that it was built in into the lab."""
    source = client.containers.create(guest, labels=settings.LABELS)
    try:
        stream, _stat = source.get_archive("/guest")
        if not machine.container.put_archive(_GUEST_FOLDER, stream):
            raise RegistryStackError("Docker could not copy the guest image into the lab")
    finally:
        source.remove(force=True)
