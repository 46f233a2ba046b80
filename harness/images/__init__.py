"""How each image is obtained: the services' from a registry or from Debian's packages, our own from Dockerfiles."""

from harness.images.archive import save_images
from harness.images.base import base_image
from harness.images.own import own_image
from harness.images.reference import check_reference
from harness.images.service import service_image

__all__ = ["base_image", "check_reference", "own_image", "save_images", "service_image"]
