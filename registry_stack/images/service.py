"""The service images: redis, registry, nginx and varnish, as named by a parameter or as Debian packages them."""

import docker

from registry_stack.docker.run_once import run_once
from registry_stack.errors import RegistryStackError
from registry_stack.images.base import base_image
from registry_stack.images.build import INPUTS_LABEL, PROJECT, build, inputs_digest
from registry_stack.images.build_lock import image_build_lock
from registry_stack.images.pull import Outcome, present, pull
from registry_stack.images.reference import check_reference
from registry_stack.product import Kind
from registry_stack.progress import ProgressCallback, no_progress

# Not bookworm: trixie has the 2.8.3 the push registry is pinned to, and newer redis and nginx.
SUITE = "trixie"
# Each fallback's Dockerfile writes it: the package's name and version.
PACKAGE_FILE = "/usr/share/registry-stack/package"


def service_image(
    client: docker.DockerClient, reference: str, kind: Kind, report: ProgressCallback = no_progress
) -> str:
    """Return a reference, present in the engine's store, of an image that serves as `reference`.

    Present: itself. Pullable: itself, pulled. No registry to be reached: our build of Debian's package, with
    the official image's interface and under our own name. A registry that answers and refuses is an error,
    since a mistyped name must not silently become something else.
    """
    check_reference(reference, f"{kind} image")
    if present(client, reference):
        return reference
    outcome, reason = pull(client, reference, report)
    if outcome is Outcome.PULLED:
        return reference
    if outcome is Outcome.REFUSED:
        raise RegistryStackError(
            f"the {kind} image {reference} cannot be had: its registry says: {reason}: check the name"
        )
    return _fallback(client, reference, kind, report)


def _fallback(client: docker.DockerClient, reference: str, kind: Kind, report: ProgressCallback) -> str:
    """Return our own build of the service, made only if these inputs have not been built before."""
    base = base_image(client, SUITE, report)
    digest = inputs_digest(client, kind, base)
    tag = _built_before(client, kind, digest) or _build(client, kind, base, digest, report)
    package = _package(client, tag)
    report(f"{reference} cannot be pulled: using {tag}, built from Debian's packages: {package}")
    return tag


def _built_before(client: docker.DockerClient, kind: Kind, digest: str) -> str | None:
    """The tag of an image with these inputs, if there is one."""
    found = client.images.list(name=f"{PROJECT}/{kind}", filters={"label": f"{INPUTS_LABEL}={digest}"})
    return next((tag for image in found for tag in image.tags if ":debian-" in tag), None)


def _build(client: docker.DockerClient, kind: Kind, base: str, digest: str, report: ProgressCallback) -> str:
    """Build it and name it after the version that is in it, which only the built image knows."""
    with image_build_lock(report):
        if tag := _built_before(client, kind, digest):
            return tag
        working_tag = f"{PROJECT}/{kind}:{digest}"
        build(client, kind, base, working_tag, digest, report)
        version = _upstream_version(_package(client, working_tag).split()[-1])
        tag = f"{PROJECT}/{kind}:debian-{version}"
        client.images.get(working_tag).tag(tag)
        client.images.remove(working_tag)
    return tag


def _package(client: docker.DockerClient, tag: str) -> str:
    """Name and version of the Debian package in a fallback image."""
    return run_once(client, tag, ["cat", PACKAGE_FILE], entrypoint=[]).strip()


def _upstream_version(version: str) -> str:
    """5:8.0.2-3+deb13u3 is Debian's build of 8.0.2; a tag cannot hold the rest."""
    return version.split(":")[-1].split("-")[0].split("+")[0]
