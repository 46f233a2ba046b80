"""Ctrl-C at the moments at which Python loses it, or leaves a lock behind."""

import subprocess
import sys

import pytest

PRELUDE = """
import io, signal, sys, threading, time
import typer
from registry_stack.console import report_errors

app = typer.Typer()

def ctrl_c():
    signal.raise_signal(signal.SIGINT)

def compute(depth=20):
    # In another frame at nearly every moment: it never seems to wait.
    return compute(depth - 1) + compute(depth - 2) if depth > 1 else depth
"""
# Python asks an object that goes away whether it is closed, and drops what is raised there.
IN_A_FINALIZER = """
class Response(io.IOBase):
    closed = property(lambda self: ctrl_c())

@app.command()
def main():
    Response()
    time.sleep(600)
"""
# As queue.Queue, in which urllib3 keeps its connections, takes its lock.
BEHIND_A_LOCK = """
class Connections:
    lock = threading.Lock()

    def __enter__(self):
        self.lock.acquire()
        ctrl_c()
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            compute()

    def __exit__(self, *error):
        self.lock.release()

@app.command()
def main():
    try:
        with Connections():
            pass
        time.sleep(600)
    finally:
        print("free" if Connections.lock.acquire(timeout=1) else "locked for ever")
"""
WHILE_COMPUTING = """
@app.command()
def main():
    ctrl_c()
    while True:
        compute()
"""
AT_THE_END = """
@app.command()
def main():
    ctrl_c()
    print("done")
"""


def run(command: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that interrupts itself."""
    script = [sys.executable, "-c", f"{PRELUDE}{command}\nreport_errors(app)"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("command", "output"),
    [(IN_A_FINALIZER, ""), (BEHIND_A_LOCK, "free\n"), (WHILE_COMPUTING, "")],
    ids=["in a finalizer", "behind a lock", "while computing"],
)
def test_ctrl_c_ends_a_command(command: str, output: str) -> None:
    assert run(command) == (130, output, "error: interrupted\n")


def test_ctrl_c_when_all_is_done_changes_nothing() -> None:
    assert run(AT_THE_END) == (0, "done\n", "")
