"""The pages for people: their links lead somewhere, and the generated one is that of today's template."""

import re
from itertools import chain
from pathlib import Path

import pytest

from registry_stack.product import ROOT, TEMPLATE
from registry_stack.template.document import parameters_page
from registry_stack.template.template import load_template

PAGES = sorted(chain(ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md")))
_CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", _CODE_BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Each relative link of a page whose file or heading does not exist."""
    found = []
    for path, anchor in _LINK.findall(_CODE.sub("", page.read_text())):
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(f"{path}#{anchor}" if anchor else path)
    return found


def test_pages_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "architecture.md", "operations.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading, here\n[1](#a-heading-here) [2](page.md) [3](gone.md) [4](page.md#gone) `[5](code)`\n")
    assert broken_links(page) == ["gone.md", "page.md#gone"]


def test_parameters_page_is_current() -> None:
    """After a change of the template: python -m registry_stack.template.document > docs/parameters.md"""
    assert (ROOT / "docs/parameters.md").read_text() == parameters_page(load_template(TEMPLATE))


def test_every_parameter_is_on_the_page() -> None:
    """Only parameters in a group are: one without a group would be missing."""
    template = load_template(TEMPLATE)
    assert re.findall(r"^\| `(\w+)`", parameters_page(template), re.MULTILINE) == [
        name for group in template.groups for name in group.parameters
    ]
    assert {name for group in template.groups for name in group.parameters} == set(template.parameters)
