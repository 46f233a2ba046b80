"""The Debian base of our images: pulled from Docker Hub where possible, else made with mmdebstrap."""

import os
import subprocess
import tempfile
from pathlib import Path

import docker

from registry_stack.docker.packages import find_program, has_apt, install_packages
from registry_stack.errors import RegistryStackError
from registry_stack.images.build_lock import image_build_lock
from registry_stack.images.pull import Outcome, present, pull
from registry_stack.progress import ProgressCallback, no_progress

REPOSITORY = "registry-stack/base"
# Leaves out what Docker Hub's slim image leaves out, and adds CA certificates.
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
# An ordinary user runs it in a user namespace, with the ids from /etc/subuid.
_PACKAGES = ("mmdebstrap", "debian-archive-keyring")
_PACKAGES_WITHOUT_ROOT = (*_PACKAGES, "uidmap")


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
        _ensure_mmdebstrap(f"{slim} is not here and cannot be pulled ({reason})", report)
        report(f"{slim} cannot be pulled ({reason}): making a Debian {suite} base with mmdebstrap")
        _make(client, suite)
    return ours


def _first_present(client: docker.DockerClient, *references: str) -> str | None:
    return next((reference for reference in references if present(client, reference)), None)


def _make(client: docker.DockerClient, suite: str) -> None:
    """Make a minimal Debian and import it as an image."""
    with tempfile.TemporaryDirectory(prefix="registry-stack-") as folder:
        archive = Path(folder) / f"{suite}.tar"
        mode = "root" if os.geteuid() == 0 else "unshare"
        done = subprocess.run(
            [*_MMDEBSTRAP, f"--mode={mode}", suite, str(archive)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            last = " / ".join(done.stderr.strip().splitlines()[-3:])
            raise RegistryStackError(
                f"mmdebstrap could not make a Debian {suite}: {last}: "
                f"check that this machine reaches a Debian package mirror, or `docker pull debian:{suite}-slim`"
            )
        client.api.import_image_from_file(str(archive), repository=REPOSITORY, tag=suite, changes=["CMD bash"])


def _ensure_mmdebstrap(why: str, report: ProgressCallback) -> None:
    """Make sure that mmdebstrap can be run; only root can install it."""
    is_root = os.geteuid() == 0
    packages = _PACKAGES if is_root else _PACKAGES_WITHOUT_ROOT
    if find_program("mmdebstrap") and (is_root or find_program("newuidmap")):
        return
    if not has_apt():
        raise RegistryStackError(
            f"{why}, and mmdebstrap, which makes one from Debian's packages, is not installed: "
            f"install {', '.join(packages)}, or make the image available to this engine"
        )
    if not is_root:
        raise RegistryStackError(
            f"{why}, and to make one from Debian's packages this user lacks a program: "
            f"`sudo apt-get install {' '.join(packages)}`, run this as root, or make the image available to this engine"
        )
    install_packages(packages, report)
