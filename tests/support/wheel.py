"""The wheel, built from this checkout and installed where nothing else of the project is."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import ROOT


@dataclass(frozen=True)
class InstalledWheel:
    """The folder it was installed into, and an empty one to run its command from."""

    folder: Path
    elsewhere: Path

    @property
    def package(self) -> Path:
        return self.folder / "registry_stack"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The console script; a cloud named by the environment is not used."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return subprocess.run(
            [self.folder / "bin" / "registry-stack", *arguments],
            cwd=self.elsewhere,
            # Before a checkout that is installed as an editable package.
            env=inherited | {"PYTHONPATH": str(self.folder)} | environment,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=200,
            check=False,
        )


def install_wheel(folder: Path) -> InstalledWheel:
    """Build and install it; what it depends on is in the environment of the tests already."""
    built, installed, elsewhere = folder / "built", folder / "installed", folder / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built], cwd=ROOT, check=True)
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", installed, wheel], check=True)
    return InstalledWheel(installed, elsewhere)
