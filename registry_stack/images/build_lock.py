"""One at a time: two runs that lack the same image must not both make it, nor tidy up under each other's build."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from registry_stack.images.archive import cache_folder
from registry_stack.progress import ProgressCallback


@contextmanager
def image_build_lock(report: ProgressCallback) -> Iterator[None]:
    """Hold the making of images against every other thread and process of this user.

    Who had to wait must look again for the image. The kernel lets go when the holder ends, however it ends. Not to be
    nested.
    """
    with (cache_folder() / "making.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another run that makes images")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
