"""Every rule sees its own breach: a product that passes is worth something only then."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.template import rules, template_rules
from tests.unit.template.repository import EXAMPLE, LOADERS, TEMPLATE, Product

GOOD = """#cloud-config
write_files:
  - path: /etc/docker-registry/environment.user-data
    permissions: '0600'
    content: |
      # The parameters.
      A='@@A@@'
  - path: /etc/blob
    encoding: b64
    content: '@@BLOB@@'
  - path: /opt/run
    permissions: '0755'
    content: |
      #!/bin/bash
      . /opt/lib.sh
      echo "$GREETING"
  - path: /opt/lib.sh
    content: |
      # shellcheck shell=bash disable=SC2034
      GREETING=hello
  - path: /etc/systemd/system/a.service
    content: |
      [Unit]
      Wants=docker.service b.service
      Requires=b.service
      After=docker.service b.service

      [Service]
      Type=oneshot
      ExecStart=/opt/run

      [Install]
      WantedBy=multi-user.target
  - path: /etc/systemd/system/b.service
    content: |
      [Service]
      ExecStart=/usr/bin/docker run x
runcmd:
  - systemctl daemon-reload
  - [systemctl, enable, --now, --no-block, a.service]
coreos:
  units:
    - {name: a.service, enable: true, command: start}
"""
RENDERED = GOOD.replace("@@A@@", "a").replace("@@BLOB@@", "aGVsbG8=")
TEXT_RULES: list[Callable[[str], list[str]]] = [
    rules.placeholders_where_allowed,
    *rules.RULES,
]


@pytest.mark.parametrize("rule", TEXT_RULES)
def test_good_text_passes(rule: Callable[[str], list[str]]) -> None:
    text = GOOD if rule is rules.placeholders_where_allowed else RENDERED
    assert rule(text) == []


@pytest.mark.parametrize(
    ("rule", "old", "new", "violations"),
    [
        (
            rules.placeholders_where_allowed,
            "A='@@A@@'",
            "A=@@A@@",
            ["/etc/docker-registry/environment.user-data: 'A=@@A@@' is not NAME='@@NAME@@'"],
        ),
        (rules.placeholders_where_allowed, "echo", "echo @@A@@", ["/opt/run: @@A@@ is not allowed here"]),
        (
            rules.placeholders_where_allowed,
            "'@@BLOB@@'",
            "|\n      @@BLOB@@\n      AAAA\n",
            ["/etc/blob: @@BLOB@@ is not allowed here"],
        ),
        (
            rules.placeholders_where_allowed,
            "runcmd:",
            "# @@A@@\nruncmd:",
            ["1 placeholder(s) outside the content of write_files"],
        ),
        (
            rules.placeholders_where_allowed,
            "path: /opt/run",
            "path: '/opt/@@A@@'",
            ["1 placeholder(s) outside the content of write_files"],
        ),
        (
            rules.loaders_agree,
            "enable: true, ",
            "",
            ["enable: runcmd ['a.service'], coreos.units []"],
        ),
        (
            rules.loaders_agree,
            "--no-block, a.service]",
            "b.service]",
            [
                "start: runcmd ['b.service'], coreos.units ['a.service']",
                "enable: runcmd ['b.service'], coreos.units ['a.service']",
            ],
        ),
        (
            rules.loaders_agree,
            "path: /etc/systemd/system/a.service",
            "path: /etc/systemd/system/c.service",
            ["a.service is not in write_files"],
        ),
        (
            rules.unit_references_known,
            "Wants=docker.service b.service",
            "Wants=docker.service bb.service",
            ["/etc/systemd/system/a.service: Wants= names bb.service"],
        ),
        (
            rules.unit_bodies_once,
            "enable: true,",
            "enable: true, content: x,",
            ["coreos.units: a.service has a body"],
        ),
        (rules.enabled_units_installable, "[Install]", "[X]", ["a.service is enabled but has no [Install]"]),
        (
            rules.no_coreos_substitution,
            "echo",
            "echo $public_ipv4",
            ["$public_ipv4 would be replaced by coreos-cloudinit"],
        ),
        (
            rules.modes_safe,
            "'0755'",
            "0755",
            ["/opt/run: permissions must be quoted, four octal digits"],
        ),
        (rules.modes_safe, "'0755'", "'0644'", ["/opt/run: mode 0644 does not fit its first line"]),
        (
            rules.modes_safe,
            "'0600'",
            "'0640'",
            ["/etc/docker-registry/environment.user-data: must be 0600 root:root, it holds secrets"],
        ),
        (
            rules.environment_lines,
            "A='a'",
            "A='a'\n      'b'",
            ["\"'b'\" is no assignment"],
        ),
        (rules.environment_lines, "A='a'", "A='a'\n      A='b'", ["A is assigned twice"]),
    ],
)
def test_a_breach_is_seen(rule: Callable[[str], list[str]], old: str, new: str, violations: list[str]) -> None:
    text = GOOD if rule is rules.placeholders_where_allowed else RENDERED
    assert old in text
    assert rule(text.replace(old, new, 1)) == violations


def test_static_files() -> None:
    assert rules.static_files_identical(GOOD, RENDERED) == []
    assert rules.static_files_identical(GOOD, RENDERED.replace("hello", "hullo")) == ["/opt/lib.sh differs"]
    assert rules.static_files_identical(GOOD, RENDERED.replace("'0755'", "'0700'")) == ["/opt/run differs"]


def test_an_edited_product_is_seen(product: Product, tmp_path: Path) -> None:
    """The checks look at the files they are meant to look at."""
    edited = product.edited(tmp_path, LOADERS, "runcmd:\n", "runcmd:\n  - '@@NEW@@'\n")
    assert rules.placeholders_where_allowed(edited.source) != []
    assert template_rules.renders(edited.template, edited.values(), edited.references) != []
    assert (edited.root / TEMPLATE).read_text() == (product.root / TEMPLATE).read_text()
    assert (edited.root / EXAMPLE).is_file()
