"""What a command prints: progress and errors on standard error, its result on standard output, plain when piped."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

from registry_stack.errors import RegistryStackError
from registry_stack.interrupts import interrupted_while_waiting
from registry_stack.progress import ProgressCallback

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

# By the package that defines an exception: importing all of them would take longer than most commands.
_SERVICES = {
    "docker": "Docker error: ",
    "heatclient": "Heat error: ",
    "keystoneauth1": "OpenStack error: ",
    "openstack": "OpenStack error: ",
}
# What Typer, as a shell, makes of Ctrl-C.
INTERRUPTED = 130


@contextmanager
def progress(title: str, spinner: bool = True) -> Iterator[ProgressCallback]:
    """Print each step as it begins; on a terminal with a spinner, unless the command may ask a question."""
    started = time.monotonic()

    def line(step: str) -> None:
        err.print(f"{time.monotonic() - started:6.1f} s  {step}", markup=False)

    if not (spinner and err.is_terminal):
        yield line
        return
    with err.status(title) as status:

        def spin(step: str) -> None:
            line(step)
            status.update(f"{title}: {step}")

        yield spin


def warn(text: str) -> None:
    """One line about a problem that does not stop the command."""
    err.print(f"[yellow]warning:[/yellow] {escape(text)}")


def fail(text: str) -> None:
    """The line that says why the command failed."""
    err.print(f"[red]error:[/red] {escape(text)}")


def report_errors(commands: typer.Typer) -> None:
    """Run a command; an expected error becomes one line and exit code 1, Ctrl-C exit code 130."""
    try:
        with interrupted_while_waiting():
            commands(standalone_mode=True)
    except SystemExit as left:
        if left.code == INTERRUPTED:
            fail("interrupted")
            _print_notes(left)
        raise
    except Exception as error:
        introduction = _introduction(error)
        if introduction is None:
            raise
        fail(introduction + str(error))
        _print_notes(error)
        sys.exit(1)


def _introduction(error: Exception) -> str | None:
    """The words before an error that a user, or a service that a command needs, can cause; None for another one."""
    packages = [kind.__module__.partition(".")[0] for kind in type(error).__mro__]
    for package in packages:
        if package in _SERVICES:
            return _SERVICES[package]
    return "" if isinstance(error, RegistryStackError | OSError) else None


def _print_notes(error: BaseException | None) -> None:
    """The notes added to an error, or to the errors that it was raised from."""
    while error is not None:
        for note in getattr(error, "__notes__", []):
            err.print(note, markup=False)
        error = error.__context__
