"""Where the template and the cloud-config are, and which parameters name the images of a host."""

from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "heat" / "registry.yaml"
CLOUD_CONFIG = ROOT / "cloud-config"

Kind = Literal["redis", "registry", "nginx"]
# Parameter of the template -> what the image is an image of.
IMAGE_PARAMETERS: dict[str, Kind] = {
    "redis_image": "redis",
    "registry_image": "registry",
    "proxy_image": "registry",
    "edge_image": "nginx",
}
