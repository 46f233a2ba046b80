"""One at a time: two runs that lack the same image must not both make it, nor tidy up under each other's build."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from harness.engine import Report
from harness.images.archive import cache_folder


@contextmanager
def making_images(report: Report) -> Iterator[None]:
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
