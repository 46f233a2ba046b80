"""A lock for building images: two runs must not build the same image, nor prune during each other's build."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from registry_stack.images.archive import cache_folder
from registry_stack.progress import ProgressCallback


@contextmanager
def image_build_lock(report: ProgressCallback) -> Iterator[None]:
    """Let one thread of all processes of this user build images at a time.

    After waiting, look for the image again. The kernel releases the lock when its holder ends, however it ends. Do not
    nest it.
    """
    with (cache_folder() / "making.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another run that builds images")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
