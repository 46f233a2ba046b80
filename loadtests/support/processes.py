"""Other processes of a load test."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def start_python(module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a module of this project, which ends when its standard input does."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
