"""Progress of long work, reported to its caller step by step."""

from collections.abc import Callable

ProgressCallback = Callable[[str], None]


def no_progress(_step: str) -> None:
    """Discard every step."""
