"""The pages for people: their links lead somewhere, and the generated one is that of today's template."""

import re
import subprocess
from itertools import chain
from pathlib import Path

import pytest

from registry_stack.product import GROUP_TEMPLATE, ROOT, TEMPLATE
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
    assert (ROOT / "docs/parameters.md").read_text() == parameters_page(
        load_template(TEMPLATE), load_template(GROUP_TEMPLATE)
    )


def test_every_parameter_is_on_the_page() -> None:
    """Only parameters in a group are: one without a group would be missing."""
    template = load_template(TEMPLATE)
    assert re.findall(r"^\| `(\w+)`", parameters_page(template, template), re.MULTILINE) == [
        name for group in template.groups for name in group.parameters
    ]
    assert {name for group in template.groups for name in group.parameters} == set(template.parameters)


@pytest.mark.parametrize("fails", [False, True])
def test_example_of_a_login_that_is_renewed(tmp_path: Path, fails: bool) -> None:
    """As it is written, with stand-ins for what this machine does not have or may not do."""
    page = (ROOT / "docs/operations.md").read_text()
    (script,) = re.findall(
        r"^```bash\n(.*?)^```$", page.partition("## Logins that expire")[2], re.MULTILINE | re.DOTALL
    )
    programs = {"aws": 'test "$*" = "ecr get-login-password --region eu-central-1" && echo secret', "chown": "true"}
    for name, command in (programs | ({"aws": "exit 1"} if fails else {})).items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{command}\n")
        (tmp_path / name).chmod(0o755)
    logins = tmp_path / "logins"
    logins.mkdir()
    (logins / "ecr").write_text("AWS:old\n")
    done = subprocess.run(
        ["bash", "-c", script.replace("/var/lib/registry/logins", str(logins))],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == int(fails)
    assert {path.name: path.read_text() for path in logins.iterdir()} == {
        "ecr": f"AWS:{'old' if fails else 'secret'}\n"
    }


def test_units_of_that_example(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations.md").read_text().partition("## Logins that expire")[2]
    units = re.findall(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert [name for name, _text in units] == ["renew-ecr-login.service", "renew-ecr-login.timer"]
    program = tmp_path / "renew"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name, text in units:
        (tmp_path / name).write_text(text.replace("/usr/local/bin/renew-ecr-login", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name, _text in units)],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "renew-ecr-login" not in done.stderr, done.stderr
