"""The Debian base our images stand on: Docker Hub's where it can be had, else made with mmdebstrap."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import docker

from registry_stack.docker.packages import install_packages
from registry_stack.errors import RegistryStackError
from registry_stack.images.build_lock import image_build_lock
from registry_stack.images.pull import Outcome, present, pull
from registry_stack.progress import ProgressCallback, no_progress

REPOSITORY = "registry-stack/base"
# What Docker Hub's slim image leaves out or sets, and the certificates it lacks.
_MMDEBSTRAP = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=ca-certificates",
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--aptopt=Acquire::Languages "none"',
    "--quiet",
)


def base_image(client: docker.DockerClient, suite: str, report: ProgressCallback = no_progress) -> str:
    """Return the reference of a Debian base image of `suite` that is in the engine's store."""
    slim, ours = f"debian:{suite}-slim", f"{REPOSITORY}:{suite}"
    if here := _first_present(client, slim, ours):
        return here
    with image_build_lock(report):
        if here := _first_present(client, slim, ours):
            return here
        outcome, reason = pull(client, slim, report)
        if outcome is Outcome.PULLED:
            return slim
        report(f"{slim} cannot be pulled ({reason}): making a Debian {suite} base with mmdebstrap")
        _make(client, suite, report)
    return ours


def _first_present(client: docker.DockerClient, *references: str) -> str | None:
    return next((reference for reference in references if present(client, reference)), None)


def _make(client: docker.DockerClient, suite: str, report: ProgressCallback) -> None:
    """Make a minimal Debian and import it as an image."""
    _need_mmdebstrap(suite, report)
    with tempfile.TemporaryDirectory(prefix="registry-stack-") as folder:
        archive = Path(folder) / f"{suite}.tar"
        command = [*_MMDEBSTRAP, suite, str(archive)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = " / ".join(done.stderr.strip().splitlines()[-3:])
            raise RegistryStackError(
                f"mmdebstrap could not make a Debian {suite}: {last}: "
                "check that this machine reaches a Debian package mirror"
            )
        client.api.import_image_from_file(str(archive), repository=REPOSITORY, tag=suite, changes=["CMD bash"])


def _need_mmdebstrap(suite: str, report: ProgressCallback) -> None:
    """Make sure mmdebstrap can be run; only root can, without further set-up, both install and run it."""
    if os.geteuid() != 0:
        raise RegistryStackError(
            f"debian:{suite}-slim is neither here nor can it be pulled, and only root can "
            f"make it with mmdebstrap: `docker pull debian:{suite}-slim`, or run this as root"
        )
    if shutil.which("mmdebstrap"):
        return
    if shutil.which("apt-get") is None:
        raise RegistryStackError(
            f"debian:{suite}-slim cannot be pulled and mmdebstrap is not installed: install "
            "it and debian-archive-keyring, or make the image available to this engine"
        )
    install_packages(("mmdebstrap", "debian-archive-keyring"), report)
