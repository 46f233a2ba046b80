"""Making images: two runs that lack the same one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry_stack.images import base_image
from registry_stack.images import build as build_module
from registry_stack.images.build import ensure_built
from tests.integration.session import Run

RUNS = 4


@pytest.fixture
def name(this_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image that this run alone can have made, and that takes a moment."""
    name = f"{this_run.prefix}-image"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"ARG BASE\nFROM $BASE\nRUN sleep 2; echo {name} > /made\n")
    monkeypatch.setattr(build_module, "FOLDER", tmp_path)
    return name


def test_several_runs_make_it_once(this_run: Run, name: str) -> None:
    base = base_image(this_run.client, "bookworm")
    said: list[str] = []
    with ThreadPoolExecutor(RUNS) as pool:
        made = [pool.submit(ensure_built, this_run.client, name, base, said.append) for _ in range(RUNS)]
    tags = {future.result() for future in made}
    try:
        assert len(tags) == 1
        assert sum(line.startswith("building ") for line in said) == 1, said
        assert any(line.startswith("waiting ") for line in said), said
    finally:
        for tag in tags:
            this_run.client.images.remove(tag)
