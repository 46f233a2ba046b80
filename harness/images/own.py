"""Our own images: the host, the test client, Swift, the demo's Node.js, the load tests', what tests look with."""

import docker

from harness.engine import Report, silent
from harness.errors import HarnessError
from harness.images.base import base_image
from harness.images.build import ensure_built

# The Debian each stands on; why is said in its Dockerfile.
SUITES = {
    "host": "bookworm",
    "client": "bookworm",
    "swift": "bookworm",
    "node": "bookworm",
    "load": "trixie",
    "browser": "bookworm",
    "prometheus": "trixie",
}


def own_image(client: docker.DockerClient, name: str, report: Report = silent) -> str:
    """Return the tag of one of our own images, built first if its Dockerfile, files or base have changed."""
    if name not in SUITES:
        raise HarnessError(f"there is no image {name!r}: there are {', '.join(sorted(SUITES))}")
    return ensure_built(client, name, base_image(client, SUITES[name], report), report)
