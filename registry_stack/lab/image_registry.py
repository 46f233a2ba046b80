"""A registry on the lab's network with the container images that a server runs; it is also the mirror's upstream.

Servers use it over plain HTTP, which the lab's server image allows (registry_stack/images/guest).
"""

import io
import tarfile

import docker

from registry_stack.docker.machine import Machine
from registry_stack.images.pull import present
from registry_stack.images.service import service_image
from registry_stack.lab import settings
from registry_stack.machines.upstream import ALIAS, PORT, fill, upstream_registry
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.template.template import load_template

ADDRESS = f"{ALIAS}:{PORT}"
_CHECK_IMAGE = "registry-stack/lab-check:latest"


def ensure(client: docker.DockerClient, report: ProgressCallback = no_progress) -> dict[str, str]:
    """Start it if necessary and fill it; return the parameters of heat/registry.yaml that name its images."""
    machine = Machine.find(client, settings.IMAGES)
    if machine is not None and not machine.running:
        machine.remove()
        machine = None
    if machine is None:
        machine = upstream_registry(client, settings.IMAGES, settings.NAME, settings.LABELS, report)
    # A running one too, since filling it may have been interrupted.
    _fill(client, machine, report)
    return _parameters() | {"upstream_url": f"http://{ADDRESS}"}


def _defaults() -> dict[str, str]:
    """The images that the template names by default."""
    parameters = load_template(TEMPLATE).parameters
    return {name: str(parameters[name].default) for name in IMAGE_PARAMETERS}


def _parameters() -> dict[str, str]:
    return {name: f"{ADDRESS}/{reference}" for name, reference in _defaults().items()}


def _fill(client: docker.DockerClient, machine: Machine, report: ProgressCallback) -> None:
    """Push the service images, and the small one that a server pulls through its mirror as a self-test."""
    for name, reference in _defaults().items():
        repository, _colon, tag = reference.rpartition(":")
        report(f"filling the lab's registry: {reference}")
        fill(client, machine, service_image(client, reference, IMAGE_PARAMETERS[name], report), repository, tag)
    if not present(client, _CHECK_IMAGE):
        _make_check_image(client)
    repository, _colon, tag = str(load_template(TEMPLATE).parameters["upstream_check_image"].default).rpartition(":")
    fill(client, machine, _CHECK_IMAGE, repository, tag)


def _make_check_image(client: docker.DockerClient) -> None:
    """Create an image of one small file."""
    stream, content = io.BytesIO(), b"hello from the lab\n"
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("hello")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    repository, _colon, tag = _CHECK_IMAGE.rpartition(":")
    client.api.import_image_from_data(stream.getvalue(), repository=repository, tag=tag)
