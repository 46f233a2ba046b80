"""Builds our own images from a folder here and a base image, only when one of the two has changed."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import docker
from docker.errors import APIError, BuildError

from registry_stack.errors import RegistryStackError
from registry_stack.images.build_lock import image_build_lock
from registry_stack.images.pull import present
from registry_stack.progress import ProgressCallback

FOLDER = Path(__file__).parent
# Files that every build may COPY, besides those of the image's folder.
COMMON = FOLDER / "common"
PROJECT = "registry-stack"
INPUTS_LABEL = "org.registry-stack.inputs"
# On the first stage of a two-stage build, whose image nobody needs afterwards.
STAGE_LABEL = "org.registry-stack.stage"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_TAIL_LINES = 15


def inputs_digest(client: docker.DockerClient, name: str, base: str) -> str:
    """A short digest of an image's inputs: its files, their modes, and its base."""
    digest = hashlib.sha256(str(client.images.get(base).id).encode())
    for arcname, path in _context_files(name):
        mode = path.stat().st_mode & 0o111
        digest.update(f"\0{arcname}\0{mode}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def ensure_built(
    client: docker.DockerClient,
    name: str,
    base: str,
    report: ProgressCallback,
    check: Callable[[], None] = lambda: None,
) -> str:
    """Return the tag of the image of folder `name` on `base`; if it must be built, after `check`."""
    digest = inputs_digest(client, name, base)
    tag = f"{PROJECT}/{name}:{digest}"
    if present(client, tag):
        return tag
    with image_build_lock(report):
        if not present(client, tag):
            check()
            build(client, name, base, tag, digest, report)
    return tag


def build(client: docker.DockerClient, name: str, base: str, tag: str, digest: str, report: ProgressCallback) -> None:
    """Build the image of folder `name` on `base`, tagged `tag`; raise RegistryStackError with the log's tail."""
    report(f"building {tag} on {base}")
    proxies = {key: os.environ[key] for key in _PROXIES if key in os.environ}
    try:
        client.images.build(
            fileobj=_context(name),
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            buildargs={"BASE": base, **proxies},
            labels={INPUTS_LABEL: digest},
        )
    except BuildError as error:
        lines = [str(part.get("stream", "")).rstrip() for part in error.build_log if isinstance(part, dict)]
        tail = [line for line in lines if line][-_TAIL_LINES:]
        message = "\n    ".join([f"the image {name} could not be built: {error.msg}", *tail])
        raise RegistryStackError(message) from error
    except APIError as error:
        raise RegistryStackError(f"the engine refused to build the image {name}: {error.explanation}") from error
    client.images.prune(filters={"dangling": True, "label": STAGE_LABEL})


def _context_files(name: str) -> list[tuple[str, Path]]:
    """Every file of the build context with its path in it, in a fixed order."""
    found = [
        (str(path.relative_to(folder)), path)
        for folder in (FOLDER / name, COMMON)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    if not any(arcname == "Dockerfile" for arcname, _path in found):
        raise RegistryStackError(f"there is no Dockerfile in {FOLDER / name}: the project is not complete")
    return found


def _context(name: str) -> io.BytesIO:
    """The build context as a tar, the same bytes for the same files, so that the engine's cache works."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for arcname, path in _context_files(name):
            member = tarfile.TarInfo(arcname)
            member.size = path.stat().st_size
            member.mode = 0o755 if path.stat().st_mode & 0o111 else 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)
    stream.seek(0)
    return stream
