"""What a command prints: progress on standard error, its result on standard output, plain when piped."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from registry_stack.progress import ProgressCallback

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def progress(title: str, spinner: bool = True) -> Iterator[ProgressCallback]:
    """Report steps as they begin, one line each, at a terminal with a spinner unless a question may be asked."""
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
    """One line that wants attention but stops nothing."""
    err.print(f"[yellow]warning:[/yellow] {escape(text)}")


def fail(text: str) -> None:
    """One line that says why the command ends."""
    err.print(f"[red]error:[/red] {escape(text)}")
