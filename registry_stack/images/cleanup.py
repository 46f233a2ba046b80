"""What the project leaves behind for the next deployment, and removing it: its images, and their archives."""

import shutil

import docker
from docker.errors import APIError

from registry_stack.images.archive import cache_path
from registry_stack.images.build import PROJECT
from registry_stack.images.build_lock import image_build_lock
from registry_stack.progress import ProgressCallback


def list_project_images(client: docker.DockerClient) -> list[str]:
    """The tags of all images that were built here; what was pulled may be the user's, and is not among them."""
    tags = [tag for image in client.images.list() for tag in image.tags]
    return sorted(tag for tag in tags if tag.startswith(f"{PROJECT}/"))


def remove_project_images(client: docker.DockerClient, report: ProgressCallback) -> None:
    """Remove the images that were built here, but for those in use, and the cache folder."""
    with image_build_lock(report):
        for tag in list_project_images(client):
            try:
                client.images.remove(tag)
            except APIError as error:
                report(f"kept image {tag}: {error.explanation or error}")
            else:
                report(f"deleted image {tag}")
        folder = cache_path()
        shutil.rmtree(folder)
    report(f"deleted {folder}")
