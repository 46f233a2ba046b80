"""What Flatcar's coreos-cloudinit makes of the user-data: no key it does not know, the same files as cloud-init's."""

import base64
import gzip
from pathlib import Path
from typing import Any

import pytest

from registry_stack.userdata.host_files import cloud_config, host_files
from tests.support import coreos_cloudinit as coreos
from tests.unit.template.repository import LOADERS, Product
from tests.unit.template.test_repository import OPTIONS

ADDRESSES = {"public_ipv4": "192.0.2.1", "private_ipv4": "10.0.0.1", "public_ipv6": "", "private_ipv6": "2001:db8::1"}
ZIPPED = base64.b64encode(gzip.compress(b"text\n", mtime=0)).decode()
FILE = """#cloud-config
write_files:
  - {path: /etc/a, content: a, permissions: '0600', owner: root, encoding: ''}
coreos:
  units: [{name: a.service, enable: true, command: start, content: x, drop_ins: [{name: b.conf, content: c}]}]
hostname: a
"""


@pytest.mark.parametrize("options", OPTIONS)
def test_it_knows_every_key_but_runcmd(product: Product, options: dict[str, Any]) -> None:
    assert "runcmd" in cloud_config(product.rendered(**options))
    assert coreos.warnings(product.rendered(**options)) == ['unrecognized key "runcmd"']


@pytest.mark.parametrize("options", OPTIONS)
def test_it_writes_the_files_that_cloud_init_writes(product: Product, options: dict[str, Any]) -> None:
    """Wherever the server is: nothing in the text is taken for an address. One of them writes the others."""
    text = product.rendered(**options)
    entries = {entry["path"] for entry in cloud_config(text)["write_files"]}
    theirs = {path: (file.content, file.mode) for path, file in host_files(text).items() if path in entries}
    assert theirs
    assert {file.path: (file.content, file.mode) for file in coreos.files(coreos.substitute(text, ADDRESSES))} == theirs


def test_an_unknown_key_in_the_product_is_seen(product: Product, tmp_path: Path) -> None:
    edited = product.edited(tmp_path, LOADERS, "\nruncmd:\n", "\nbootcmd: []\nruncmd:\n")
    assert coreos.warnings(edited.rendered()) == ['unrecognized key "bootcmd"', 'unrecognized key "runcmd"']


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("hostname: a", "packages: [a]", 'unrecognized key "packages"'),
        ("owner: root", "defer: true", 'unrecognized key "write_files.0.defer"'),
        ("owner: root", "append: true", 'unrecognized key "write_files.0.append"'),
        ("enable: true", "enabled: true", 'unrecognized key "coreos.units.0.enabled"'),
        ("drop_ins", "drop-ins", 'unrecognized key "coreos.units.0.drop-ins"'),
        ("units: [", "unit: [", 'unrecognized key "coreos.unit"'),
        ("command: start", "command: enable", "coreos.units.0.command: invalid value 'enable'"),
        ("'0600'", "u=rw", "write_files.0.permissions: invalid value 'u=rw'"),
        ("''", "text/plain", "write_files.0.encoding: invalid value 'text/plain'"),
        ("enable: true", "enable: 'yes'", "coreos.units.0.enable: incorrect type str"),
        ("content: a", "content: [a]", "write_files.0.content: incorrect type list"),
        ("/etc/a", "/usr/bin/a", "write_files.0.path: file cannot be written to a read-only filesystem"),
    ],
)
def test_a_breach_is_seen(old: str, new: str, warning: str) -> None:
    assert coreos.warnings(FILE) == []
    assert old in FILE
    assert coreos.warnings(FILE.replace(old, new, 1)) == [warning]


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("", "text\n"),
        *((encoding, "dGV4\ndAo=\n") for encoding in ("b64", "base64")),
        *((encoding, ZIPPED) for encoding in ("gz+base64", "gzip+base64", "gz+b64", "gzip+b64")),
    ],
)
def test_encodings(encoding: str, content: str) -> None:
    assert coreos.decoded(content, encoding) == b"text\n"


@pytest.mark.parametrize(("encoding", "content"), [("text/plain", "a"), ("b64", "dGV4 dAo="), ("gz+b64", "dGV4dAo=")])
def test_what_it_cannot_decode(encoding: str, content: str) -> None:
    with pytest.raises((ValueError, OSError)):
        coreos.decoded(content, encoding)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$private_ipv4:80 '$public_ipv4'", "10.0.0.1:80 '192.0.2.1'"),
        ("x$private_ipv4y", "x10.0.0.1y"),
        (r"\$private_ipv4", "$private_ipv4"),
        ("[$public_ipv6] [$private_ipv6]", "[] [2001:db8::1]"),
        ("$private_ip ${private_ipv4}", "$private_ip ${private_ipv4}"),
    ],
)
def test_addresses(text: str, result: str) -> None:
    assert coreos.substitute(text, ADDRESSES) == result
