"""The parts of the preflight checks that need no cloud."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import certifi
import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.product import EXAMPLE, TEMPLATE
from registry_stack.targets.cloud import preflight
from registry_stack.targets.cloud.connection import ca_bundle
from registry_stack.targets.cloud.swift import keystone_url
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template


@pytest.mark.parametrize("end", ["", "/", "/v2", "/v2/", "/v2.0", "/v2.0/", "/v3", "/v3/"])
def test_keystone_address_ends_in_version_3(end: str) -> None:
    values = {"os_authurl": f"https://keystone.example.com:5000{end}"}
    assert keystone_url(values) == "https://keystone.example.com:5000/v3"


def test_keystone_address_keeps_its_path() -> None:
    assert (
        keystone_url({"os_authurl": "https://cloud.example.com/identity/v2.0"})
        == "https://cloud.example.com/identity/v3"
    )


def test_extra_ca_is_added_to_the_usual_ones() -> None:
    with ca_bundle({"extra_ca_certificates": base64.b64encode(b"one more\n").decode()}) as verify:
        text = Path(str(verify)).read_text()
    assert text.startswith(Path(certifi.where()).read_text())
    assert text.endswith("\none more\n")
    assert not Path(str(verify)).exists()


@pytest.mark.parametrize("given", ["abc", "not base64"])
def test_extra_ca_must_be_base64(given: str) -> None:
    with (
        pytest.raises(RegistryStackError, match="extra_ca_certificates: not base64: "),
        ca_bundle({"extra_ca_certificates": given}),
    ):
        pass


def test_default_extra_ca_adds_nothing() -> None:
    with ca_bundle({"extra_ca_certificates": "Cg=="}) as verify:
        assert verify is True


def failures(monkeypatch: pytest.MonkeyPatch, *options: str) -> list[str]:
    """What the check of the user-data says to the example with these options."""
    values = resolve_parameters(load_template(TEMPLATE), read_environment([EXAMPLE], list(options)))
    monkeypatch.setattr(preflight, "_CHECKS", [preflight.user_data_fits])
    connection: Any = SimpleNamespace(current_project_id="p" * 32)
    return preflight.preflight(connection, values, new=False)


def test_long_logins_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = (f"upstream_password={'a' * 5000}", f"upstream_credentials=ecr=AWS:{'a' * 2500}")
    assert failures(monkeypatch, *logins) == []


def test_user_data_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # A quote takes five characters.
    longest = (f"upstream_password={'a' * 5000}", "upstream_credentials=ecr=AWS:" + "'" * 4990)
    (line,) = failures(monkeypatch, *longest, f"extra_ca_certificates={'A' * 2400}")
    assert line.startswith("the user-data has ")
    assert "upstream_password (5000), upstream_credentials (4998), extra_ca_certificates (2400)" in line
    assert "/var/lib/registry/logins/NAME" in line
    assert "aaaa" not in line
