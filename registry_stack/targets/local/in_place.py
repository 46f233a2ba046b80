"""Hands changed settings and images to a running host, which applies them by itself."""

import json

import docker

from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.images.archive import save_images
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.host import ENVIRONMENT, IMAGE_FOLDER, IMAGE_IDS, HostPlan, image_ids

_APPLY = "/opt/registry/registry-apply"
_LOAD_IMAGES = "/usr/local/sbin/load-images"


def apply_in_place(client: docker.DockerClient, host: Machine, plan: HostPlan, report: ProgressCallback) -> None:
    """Have the host apply what differs from what it has; says first what that is.

    Raises RegistryStackError with the host's reason; it then goes on with the settings that it had.
    """
    images, names = _new_images(client, host, plan), _changed_names(host, plan)
    if not images and not names:
        report(f"{host.name} is running with these parameters")
        return
    report(f"applying in place, without a new host: {', '.join([*names, *sorted(images)])}")
    if images:
        for archive in save_images(client, sorted(images)):
            host.put(f"{IMAGE_FOLDER}/{archive.name}", archive, 0o600)
        host.exec([_LOAD_IMAGES])
        host.put(IMAGE_IDS, json.dumps(image_ids(client, plan.values)).encode())
    done = host.exec([_APPLY, "/dev/stdin"], input=plan.settings.encode(), check=False)
    if done.code != 0:
        reason = next((line for line in done.err.splitlines() if line.startswith("error: ")), done.tail())
        raise RegistryStackError(f"{host.name} goes on as before: {reason.removeprefix('error: ')}")


def _new_images(client: docker.DockerClient, host: Machine, plan: HostPlan) -> set[str]:
    """The images that the host has not, or of which it has others."""
    known = json.loads(host.read(IMAGE_IDS))
    return {image for image, found in image_ids(client, plan.values).items() if known.get(image) != found}


def _changed_names(host: Machine, plan: HostPlan) -> list[str]:
    """The parameters whose values differ. Not their values: some are secrets."""
    before = set(host.read(ENVIRONMENT).decode().splitlines())
    return [line.partition("=")[0].lower() for line in plan.settings.splitlines() if line not in before]
