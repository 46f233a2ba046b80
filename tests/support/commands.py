"""The commands as a user runs them, each in a separate process."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from registry_stack.errors import RegistryStackError
from tests.support.deadlines import scaled

ROOT = Path(__file__).resolve().parents[2]
# Nothing answers there, and at once: these deployments have no upstream.
NO_UPSTREAM = "upstream_url=http://127.0.0.1:9"


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def error(self) -> str:
        """The line that says why it failed."""
        return next((line for line in self.err.splitlines() if line.startswith("error: ")), self.err)

    def seconds_since(self, step: str) -> float:
        """The time from a step that was reported to the end."""
        (line,) = (line for line in self.err.splitlines() if step in line)
        return self.seconds - float(line.split(" s ")[0])


def start(*arguments: str, root: Path = ROOT, clouds_file: Path | None = None) -> subprocess.Popen[str]:
    """`python -m registry_stack …` of the checkout in `root`, not waited for."""
    # A cloud named by the environment would be deployed to.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    environment["PYTHONPATH"] = str(root)
    if clouds_file is not None:
        environment["OS_CLIENT_CONFIG_FILE"] = str(clouds_file)
    return subprocess.Popen(
        # What a shell starts in the background ignores Ctrl-C, and so would this.
        ["env", "--default-signal=INT", sys.executable, "-m", "registry_stack", *arguments],
        cwd=root,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def expect_running(process: subprocess.Popen[str]) -> None:
    """Raise RegistryStackError with what it has said if it has ended, so that nobody waits for what it does next."""
    if process.poll() is not None:
        _out, err = process.communicate()
        raise RegistryStackError(f"the command has ended with {process.returncode}: {err}")


def finish(process: subprocess.Popen[str], started: float, timeout_s: float = 200) -> Done:
    """Wait for it."""
    out, err = process.communicate(timeout=scaled(timeout_s))
    return Done(process.returncode, out, err, time.monotonic() - started)


def run(*arguments: str, timeout_s: float = 200, root: Path = ROOT, clouds_file: Path | None = None) -> Done:
    """`python -m registry_stack …`."""
    started = time.monotonic()
    return finish(start(*arguments, root=root, clouds_file=clouds_file), started, timeout_s)


def deploy(name: str, *arguments: str) -> tuple[str, ...]:
    """The arguments of a deployment on free ports without an upstream."""
    return ("deploy", "--name", name, "--mirror-port", "0", "--registry-port", "0", "-P", NO_UPSTREAM, *arguments)
