"""Debian packages on this machine: which exist, and installing them as root."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from registry_stack.errors import RegistryStackError
from registry_stack.progress import ProgressCallback, no_progress

# An ordinary user's PATH on Debian lacks these, where dockerd is.
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")

# Another installation, such as unattended upgrades, is waited for.
_APT_GET = ("apt-get", "-o", "DPkg::Lock::Timeout=300")


def find_program(name: str) -> str | None:
    """The path of a program, those for the administrator included."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SYSTEM_FOLDERS))


def has_apt() -> bool:
    """Is this Debian or one of its descendants?"""
    return Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def install_packages(
    packages: Sequence[str], report: ProgressCallback = no_progress, where_available: Sequence[str] = ()
) -> None:
    """Install Debian packages, those of `where_available` if this release has them; or raise RegistryStackError."""
    report(f"installing {', '.join(packages)} with apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # A third party's broken package source fails `update` but need not fail the install: judge that alone.
    subprocess.run([*_APT_GET, "update"], env=environment, capture_output=True, check=False)
    wanted = [*packages, *filter(_is_available, where_available)]
    command = [*_APT_GET, "install", "--yes", "--no-install-recommends", *wanted]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise RegistryStackError(
            f"`{' '.join(command)}` failed: {' '.join(last)}: install these packages by hand and try again"
        )


def _is_available(package: str) -> bool:
    """Whether a configured source has a package of exactly that name."""
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0
