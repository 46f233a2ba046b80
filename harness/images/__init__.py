"""How each image is obtained: a service's from a registry or Debian's packages, our own from a Dockerfile."""

from harness.images.archive import save_images
from harness.images.base import base_image
from harness.images.own import own_image
from harness.images.reference import check_reference
from harness.images.service import service_image

__all__ = ["base_image", "check_reference", "own_image", "save_images", "service_image"]
