"""A lock that the processes of this machine share."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry_stack.progress import ProgressCallback


@contextmanager
def file_lock(path: Path, report: ProgressCallback, waiting: str) -> Iterator[None]:
    """Hold the lock of that file, after reporting `waiting` if another process holds it.

    The kernel releases it when its holder ends, however that is. Do not nest it.
    """
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
