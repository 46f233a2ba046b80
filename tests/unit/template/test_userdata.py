"""Rendering and decoding on small templates, and every message."""

import base64

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.template.functions import References
from registry_stack.template.template import Template
from registry_stack.userdata.host_files import HostFile, host_files
from registry_stack.userdata.render import (
    NOVA_LIMIT,
    base64_length,
    check_size,
    placeholders,
    render_user_data,
    source_text,
)
from tests.unit.template.conftest import MakeTemplate

CONFIG = """#cloud-config
write_files:
  - path: /etc/env
    permissions: '0600'
    content: |
      A=@@A@@
      B=@@B@@
  - path: /etc/blob
    encoding: b64
    content: '@@C@@'
  - path: /etc/systemd/system/a.service
    owner: root:adm
    content: "[Unit]\\n"
"""
BODY = """
parameters:
  a: {type: string}
resources:
  ip: {type: 'OS::Neutron::FloatingIP'}
  server:
    type: OS::Nova::Server
    properties:
      user_data:
        str_replace_strict:
          template: {get_file: config.yaml}
          params:
            '@@A@@': {list_join: ['', ["'", {get_param: a}, "'"]]}
            '@@B@@': {get_attr: [ip, floating_ip_address]}
            '@@C@@': aGVsbG8=
"""
REFERENCES: References = {("ip", "floating_ip_address"): "127.0.0.1"}


@pytest.fixture
def template(make_template: MakeTemplate) -> Template:
    return make_template(BODY, config=CONFIG)


def test_rendering_uses_the_templates_own_mapping(template: Template) -> None:
    text = render_user_data(template, {"a": "@@B@@"}, REFERENCES)
    assert text == CONFIG.replace("@@B@@", "127.0.0.1").replace("@@A@@", "'@@B@@'").replace("@@C@@", "aGVsbG8=")
    assert source_text(template, {}) == CONFIG


def test_host_files(template: Template) -> None:
    text = render_user_data(template, {"a": "ü"}, REFERENCES)
    assert host_files(text) == {
        "/etc/env": HostFile("/etc/env", "A='ü'\nB=127.0.0.1\n".encode(), 0o600, "root:root", "text/plain"),
        "/etc/blob": HostFile("/etc/blob", b"hello", 0o644, "root:root", "b64"),
        "/etc/systemd/system/a.service": HostFile(
            "/etc/systemd/system/a.service", b"[Unit]\n", 0o644, "root:adm", "text/plain"
        ),
    }


def test_placeholder_without_param_is_reported(make_template: MakeTemplate) -> None:
    template = make_template(BODY, config=CONFIG + "# @@Z@@ @@Y@@\n")
    with pytest.raises(RegistryStackError) as error:
        render_user_data(template, {"a": "1"}, REFERENCES)
    where = f"{template.path}: resources.server.properties.user_data"
    assert str(error.value) == f"{where}: no param for @@Y@@, @@Z@@"


def test_param_without_placeholder_is_reported(make_template: MakeTemplate) -> None:
    template = make_template(BODY, config=CONFIG.replace("A=@@A@@", "A="))
    with pytest.raises(RegistryStackError) as error:
        render_user_data(template, {"a": "1"}, REFERENCES)
    where = f"{template.path}: resources.server.properties.user_data.str_replace_strict"
    assert str(error.value) == f"{where}: the following params were not found in the template: @@A@@"


def test_template_without_server_is_reported(make_template: MakeTemplate) -> None:
    template = make_template("")
    with pytest.raises(RegistryStackError) as error:
        render_user_data(template, {}, {})
    assert str(error.value) == f"{template.path}: needs exactly one OS::Nova::Server with user_data, has 0"


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 49_151, 49_152])
def test_length_equals_that_of_base64(length: int) -> None:
    assert base64_length("x" * length) == len(base64.b64encode(b"x" * length))


def test_size_limit() -> None:
    check_size("x" * 49_149, {})
    with pytest.raises(RegistryStackError) as error:
        check_size("ü" * 24_580, {"short": "a", "token": "s3cret" * 100, "number": 1, "ca": "ü" * 100, "url": "b" * 9})
    assert str(error.value) == (
        "the user-data has 65548 base64 characters, Nova takes 65535: shorten the parameters by 11 bytes. "
        "The longest are token (600), ca (200), url (9); an upstream's login may be in a file on the host instead, "
        "/var/lib/registry/logins/NAME (docs/operations.md)"
    )
    assert base64_length("x" * (49_160 - 11)) <= NOVA_LIMIT < base64_length("x" * (49_160 - 10))


@pytest.mark.parametrize(
    ("text", "found"),
    [("@@A@@ @@B_2@@@@A@@", {"@@A@@", "@@B_2@@"}), ("@@a@@ @A@ @@ A@@ user@@host", set()), ("", set())],
)
def test_placeholders(text: str, found: set[str]) -> None:
    assert placeholders(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("write_files: []", 'user-data: the first line must be "#cloud-config"'),
        ("#cloud-config\n- a", "user-data: a cloud-config is a mapping"),
        ("#cloud-config\na: b: c", "user-data:2:5: not valid YAML: mapping values are not allowed here"),
        ("#cloud-config\nwrite_files: [a]", 'user-data: every entry of write_files needs a "path"'),
        ("#cloud-config\nwrite_files: [{path: /a}, {path: /a}]", "user-data: write_files has /a twice"),
        (
            "#cloud-config\nwrite_files: [{path: /a, encoding: gzip}]",
            'user-data: /a: encoding "gzip" is not one both loaders take; use b64 or gzip+base64',
        ),
        (
            "#cloud-config\nwrite_files: [{path: /a, encoding: b64, content: '@'}]",
            "user-data: /a: the content is not base64: Only base64 data is allowed",
        ),
        (
            "#cloud-config\nwrite_files: [{path: /a, encoding: gzip+base64, content: AAAA}]",
            "user-data: /a: the content is not gzip: Not a gzipped file (b'\\x00\\x00')",
        ),
        (
            "#cloud-config\nwrite_files: [{path: /a, permissions: rw}]",
            'user-data: /a: permissions "rw" are not an octal number',
        ),
    ],
)
def test_messages(text: str, message: str) -> None:
    with pytest.raises(RegistryStackError) as error:
        host_files(text)
    assert str(error.value) == message


def test_not_text(make_template: MakeTemplate) -> None:
    body = "resources: {s: {type: 'OS::Nova::Server', properties: {user_data: [a]}}}"
    template = make_template(body)
    with pytest.raises(RegistryStackError) as error:
        render_user_data(template, {}, {})
    assert str(error.value) == f"{template.path}: resources.s.properties.user_data must be text, not list"
