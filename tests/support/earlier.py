"""The project as it was at an earlier commit: what an operator has deployed who updates to this one."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.commands import ROOT

# The last one in which every change of a setting replaced the server.
REPLACING = "b501c14c742f4385ba7231004ad3586c8f3152a1"


def checkout(folder: Path, commit: str = REPLACING) -> Path:
    """Its files, put into a folder. Skips the test where the commit is not there."""
    done = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this checkout does not have commit {commit[:7]} (git fetch --unshallow): {done.stderr.decode()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder
