"""Obtains images: those of services from a registry or from Debian's packages, our own from Dockerfiles."""

from registry_stack.images.archive import save_images
from registry_stack.images.base import base_image
from registry_stack.images.project import ensure_project_image
from registry_stack.images.reference import check_reference
from registry_stack.images.service import service_image

__all__ = ["base_image", "check_reference", "ensure_project_image", "save_images", "service_image"]
