"""Saves images as archives for another engine, and caches them."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import docker

# Enough for four images in two or three versions, about 100 MB each set.
_KEPT = 12
_CHUNK = 1 << 20


def cache_path() -> Path:
    """The folder of saved images."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "docker-registry-stack" / "images"


def cache_folder() -> Path:
    """Create the folder of saved images if needed, and return it."""
    folder = cache_path()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_images(client: docker.DockerClient, references: Iterable[str]) -> list[Path]:
    """Return one `docker save` archive per distinct reference; an archive is reused until its image changes."""
    paths = [_saved(client, reference) for reference in dict.fromkeys(references)]
    _delete_old(keep=paths)
    return paths


def _saved(client: docker.DockerClient, reference: str) -> Path:
    """The archive of one image; its name is derived from the reference and the image's id."""
    key = hashlib.sha256(f"{reference}\0{client.images.get(reference).id}".encode()).hexdigest()[:16]
    path = cache_folder() / f"{key}.tar"
    if path.exists():
        os.utime(path)
        return path
    # Saved by reference, not by id: an archive made by id carries no name to load it under.
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as archive:
        for chunk in client.api.get_image(reference, chunk_size=_CHUNK):
            archive.write(chunk)
    part.rename(path)
    return path


def _delete_old(keep: list[Path]) -> None:
    """Delete all but the most recently used."""
    newest_first = sorted(cache_folder().glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT:]:
        if path not in keep:
            path.unlink(missing_ok=True)
