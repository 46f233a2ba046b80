"""The product, loaded once, and small templates written on the spot."""

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from registry_stack.template.template import Template, load_template
from tests.unit.template.repository import REPOSITORY, Product

# No database to leave behind; in CI the same examples every time.
hypothesis.settings.register_profile("unit", database=None, deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("unit")

MakeTemplate = Callable[..., Template]


@pytest.fixture(scope="session")
def product() -> Product:
    return Product(REPOSITORY)


@pytest.fixture
def make_template(tmp_path: Path) -> MakeTemplate:
    """Writes a template from its sections' text, and files beside it, and loads it."""

    def make(body: str, **files: str) -> Template:
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        path = tmp_path / "template.yaml"
        path.write_text(f"heat_template_version: 2018-08-31\n{body}")
        return load_template(path)

    return make
