"""What `destroy --images` removes: images that were built here and are not in use, and their archives."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError

from registry_stack.images.archive import cache_path
from registry_stack.images.cleanup import list_project_images, remove_project_images

IN_USE = "registry-stack/base:trixie"


class Images:
    """An engine's images."""

    def __init__(self) -> None:
        self.tags = ["registry-stack/host:1", IN_USE, "registry:2.8.3", "example.com/registry-stack/host:1"]

    def list(self) -> list[Any]:
        return [SimpleNamespace(tags=self.tags), SimpleNamespace(tags=[])]

    def remove(self, tag: str) -> None:
        if tag == IN_USE:
            raise APIError("409 Client Error", explanation="image is being used by running container 1")
        self.tags.remove(tag)


def test_removes_what_was_built_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    client: Any = SimpleNamespace(images=Images())
    assert list_project_images(client) == [IN_USE, "registry-stack/host:1"]
    cache_path().mkdir(parents=True)
    (cache_path() / "1.tar").touch()
    said: list[str] = []
    remove_project_images(client, said.append)
    assert client.images.tags == [IN_USE, "registry:2.8.3", "example.com/registry-stack/host:1"]
    assert said == [
        f"kept image {IN_USE}: image is being used by running container 1",
        "deleted image registry-stack/host:1",
        f"deleted {cache_path()}",
    ]
    assert not cache_path().exists()
