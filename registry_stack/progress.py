"""How long work tells its caller what it is doing."""

from collections.abc import Callable

ProgressCallback = Callable[[str], None]


def no_progress(_step: str) -> None:
    """Discard every step."""
