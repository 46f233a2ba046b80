"""A server image without Docker: what the host needs is installed, on each Debian that it may be."""

import pytest

from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images.base import base_image
from registry_stack.targets.local.host import render
from registry_stack.userdata.host_files import host_files
from tests.integration.host import resolved_values
from tests.integration.session import Run

INSTALL = "/opt/registry/install-prerequisites"
NEEDED = ("dockerd --version", "docker --version", "iptables --version", "openssl version", "curl --version", "ip -V")


@pytest.fixture(params=["bookworm", "trixie"])
def server(request: pytest.FixtureRequest, this_run: Run) -> Machine:
    """A Debian with the files of the cloud-config, and nothing else."""
    files = host_files(render(resolved_values(this_run, {})))
    spec = MachineSpec(
        image=base_image(this_run.client, request.param),
        name=f"{this_run.prefix}-{request.param}",
        labels=this_run.labels,
        command=["sleep", "infinity"],
        files={path: (file.content, file.mode) for path, file in files.items()},
    )
    return Machine.boot(this_run.client, spec)


@pytest.mark.timeout(600)
def test_prerequisites_are_installed(server: Machine) -> None:
    assert server.exec(["sh", "-c", NEEDED[1]], check=False).code != 0, "Docker is there already"
    server.exec([INSTALL])
    for command in NEEDED:
        server.exec(["sh", "-c", command])
    # Again, it asks no package mirror.
    server.exec(["rm", "-r", "/etc/apt", "/var/lib/apt/lists"])
    server.exec([INSTALL])
