"""Our own images: the host, the test client, Swift, the demo's Node.js, the load tests', and what tests run in."""

import docker

from registry_stack.errors import RegistryStackError
from registry_stack.images.base import base_image
from registry_stack.images.build import ensure_built
from registry_stack.progress import ProgressCallback, no_progress

# The Debian each stands on; why is said in its Dockerfile.
BASE_SUITES = {
    "host": "bookworm",
    "client": "bookworm",
    "swift": "bookworm",
    "node": "bookworm",
    "load": "trixie",
    "browser": "bookworm",
    "prometheus": "trixie",
    "python": "trixie",
}


def ensure_project_image(
    client: docker.DockerClient, name: str, report: ProgressCallback = no_progress, suite: str = ""
) -> str:
    """Return the tag of a project image, and build it first if its Dockerfile, files or base have changed.

    `suite` is a Debian to stand on that is not its usual one.
    """
    if name not in BASE_SUITES:
        raise RegistryStackError(f"there is no image {name!r}: there are {', '.join(sorted(BASE_SUITES))}")
    return ensure_built(client, name, base_image(client, suite or BASE_SUITES[name], report), report)
