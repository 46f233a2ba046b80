"""Where the template and its example are, which images the template names, and how a user runs a command."""

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parent
# The wheel carries heat/ and the built cloud-config inside the package; in a checkout they lie beside it.
_IN_WHEEL = (_PACKAGE / "heat").is_dir()
ROOT = _PACKAGE if _IN_WHEEL else _PACKAGE.parent
TEMPLATE = ROOT / "heat" / "registry.yaml"
GROUP_TEMPLATE = ROOT / "heat" / "registry-group.yaml"
CLOUD_CONFIG = ROOT / "cloud-config" / "docker-host.yaml"
UNPACK_FILES = ROOT / "cloud-config" / "unpack-files"
EXAMPLE = ROOT / "heat" / "env.example.yaml"

Kind = Literal["redis", "registry", "nginx", "varnish"]
# Parameter of the template -> what the image is an image of.
IMAGE_PARAMETERS: dict[str, Kind] = {
    "redis_image": "redis",
    "registry_image": "registry",
    "proxy_image": "registry",
    "edge_image": "nginx",
    "fetch_image": "varnish",
}


def command_line(command: str, arguments: str = "") -> str:
    """What a user types to run a command: the console script, or in a checkout tox."""
    if _IN_WHEEL:
        return f"registry-stack {command} {arguments}".rstrip()
    return f"tox -e {command} -- {arguments}" if arguments else f"tox -e {command}"


def shown(path: Path) -> str:
    """A path as briefly as it can be typed in the current directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
