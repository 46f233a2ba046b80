"""A lock for building images: two runs must not build the same image, nor prune during each other's build."""

from contextlib import AbstractContextManager

from registry_stack.file_lock import file_lock
from registry_stack.images.archive import cache_folder
from registry_stack.progress import ProgressCallback


def image_build_lock(report: ProgressCallback) -> AbstractContextManager[None]:
    """Let one thread of all processes of this user build images at a time. After waiting, look for the image again."""
    return file_lock(cache_folder() / "making.lock", report, "waiting for another run that builds images")
