"""What is in the mirror's cache."""

from tests.integration.host import Host
from tests.support.deadlines import wait_until
from tests.support.oci import ImageRef

_STORE = "/var/lib/registry/proxy/docker/registry/v2/repositories"
_DEADLINE_S = 20


def warm(host: Host, image: ImageRef) -> None:
    """Pull an image through the mirror and wait until all of it is in the cache: it is stored after it is served."""
    host.mirror.pull(image.repo, image.reference)
    links = [f"{_STORE}/{image.repo}/_layers/sha256/{blob.digest.removeprefix('sha256:')}/link" for blob in image.blobs]
    script = 'for link; do test -e "$link" || { echo "$link"; exit 1; }; done'

    def probe() -> str | None:
        looked = host.exec("sh", "-c", script, "sh", *links)
        return looked.out or None

    wait_until(probe, _DEADLINE_S, f"{image.name} in the cache")
