"""The parts of the preflight checks that need no cloud."""

import base64
from pathlib import Path

import certifi
import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.targets.cloud.connection import ca_bundle
from registry_stack.targets.cloud.swift import keystone_url


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
