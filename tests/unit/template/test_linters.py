"""The external linters and Heat's validation detect errors."""

from pathlib import Path
from typing import Any

import pytest

from registry_stack.userdata.host_files import host_files
from tests.unit.template import heat_reference, linters
from tests.unit.template.repository import REPOSITORY
from tests.unit.template.test_rules import RENDERED

# As systemd 252 words it, and as 257 does.
BAD_TYPE = "Failed to parse service type, ignoring: onshot|Failed to parse Type=onshot, ignoring: Invalid argument"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[Unit]", "[Unit]", ""),
        ("Type=oneshot", "Type=onshot", BAD_TYPE),
        ("[Unit]", "[Unit]\n      Foo=1", "Unknown key 'Foo' in section [Unit], ignoring."),
        ("Requires=b.service", "Requires=c.service", "Unit c.service not found."),
        ("ExecStart=/opt/run\n", "ExecStart=/opt/runn\n", "Command /opt/runn is not executable"),
        ("[Service]\n      Type", "[Sevrice]\n      Type", "Unknown section 'Sevrice'. Ignoring."),
    ],
)
def test_systemd_verify(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    result = linters.systemd_verify(host_files(RENDERED.replace(old, new, 1)), tmp_path)
    assert any(wording in result for wording in complaint.split("|"))
    assert bool(complaint) == bool(result)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("echo", "echo", ""),
        ('"$GREETING"', "$1", "[SC2086]"),
        ('echo "$GREETING"', 'for i in 1; do echo "$greeting $i"; done', "[SC2154]"),
        ("GREETING=hello", "cd /nowhere", "[SC2164]"),
    ],
)
def test_shellcheck(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    result = linters.shellcheck(host_files(RENDERED.replace(old, new, 1)), tmp_path)
    assert complaint in result
    assert bool(complaint) == bool(result)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("runcmd", "runcmd", ""),
        ("permissions: '0755'", "mode: '0755'", "mode"),
        ("runcmd:", "runcmd: 5\nx:", "runcmd"),
    ],
)
def test_cloud_init_schema(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    result = linters.cloud_init_schema(RENDERED.replace(old, new, 1), tmp_path)
    assert complaint in result
    assert bool(complaint) == bool(result)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("if a; then\n  b\nfi > c\n", ""), ("a >b\n", "+a > b"), ("if a\n", "must be followed by `then`")],
)
def test_shfmt(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / ".editorconfig").write_text((REPOSITORY / ".editorconfig").read_text())
    directory = tmp_path / "cloud-config/files/opt/registry"
    directory.mkdir(parents=True)
    (directory / "run").write_text(f"#!/bin/bash\n{text}")
    result = linters.shfmt(directory)
    assert complaint in result
    assert bool(complaint) == bool(result)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{ print a }\nEND { print 1 / n }\n", ""),
        ("{ a = 1 }\nfunction f(a) { return a }\n", "shadows global variable"),
        ("{ print \n", "must contain complete functions or rules"),
    ],
)
def test_gawk_lint(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.awk").write_text(text)
    result = linters.gawk_lint(tmp_path)
    assert complaint in result
    assert bool(complaint) == bool(result)


def test_yamllint(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\na: 2\n")
    assert "duplication of key" in linters.yamllint(path, REPOSITORY / ".yamllint.yaml")


@pytest.mark.parametrize(
    ("values", "old", "new", "complaint"),
    [
        ({}, "heat_template_version", "heat_template_version", ""),
        ({"x": 1}, "", "", "UnknownUserParameter"),
        ({"cidr": 1}, "type: OS::Heat::RandomString", "type: OS::Heat::RandomStrng", "RandomStrng"),
        ({}, "length: 32", "lenght: 32", "Unknown Property lenght"),
        ({}, "get_attr: [generated, value]", "get_attr: [generated, valeu]", "valeu"),
        ({}, "get_attr: [generated, value]", "get_attr: [generatd, value]", "generatd"),
        ({}, "depends_on: generated", "depends_on: other", "Circular"),
        ({}, "if: [c, ", "if: [d, ", 'Invalid condition "d"'),
        ({}, "[cidr]}", "[cidr, other]}", "other"),
        ({}, "default: 5", "default: 500", "out of range"),
        ({}, "  generated:", "  cidr: {type: OS::Heat::None}\n  generated:", "Duplicate names"),
    ],
)
def test_heats_validation_detects(tmp_path: Path, values: dict[str, Any], old: str, new: str, complaint: str) -> None:
    text = """heat_template_version: 2018-08-31
parameter_groups: [{label: a, parameters: [cidr]}]
parameters:
  cidr: {type: string, default: a}
  size: {type: number, default: 5, constraints: [{range: {max: 100}}]}
conditions:
  c: {equals: [{get_param: cidr}, a]}
resources:
  generated:
    type: OS::Heat::RandomString
    properties: {length: 32}
  other:
    type: OS::Heat::RandomString
    depends_on: generated
    properties: {salt: {if: [c, {get_attr: [generated, value]}, x]}}
"""
    assert old in text
    path = tmp_path / "t.yaml"
    path.write_text(text.replace(old, new, 1))
    error = heat_reference.validation_error(path, values)
    assert complaint in error
    assert bool(complaint) == bool(error)
