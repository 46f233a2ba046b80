"""What the preflight knows without asking a cloud."""

import base64
from pathlib import Path

import certifi
import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.targets.cloud.preflight import keystone_url, trusted


@pytest.mark.parametrize("end", ["", "/", "/v2", "/v2/", "/v2.0", "/v2.0/", "/v3", "/v3/"])
def test_keystone_is_asked_by_version_3(end: str) -> None:
    values = {"os_authurl": f"https://keystone.example.com:5000{end}"}
    assert keystone_url(values) == "https://keystone.example.com:5000/v3"


def test_a_path_before_the_version_stays() -> None:
    assert (
        keystone_url({"os_authurl": "https://cloud.example.com/identity/v2.0"})
        == "https://cloud.example.com/identity/v3"
    )


def test_extra_ca_is_trusted_besides_the_usual_ones() -> None:
    with trusted({"extra_ca_certificates": base64.b64encode(b"one more\n").decode()}) as verify:
        text = Path(str(verify)).read_text()
    assert text.startswith(Path(certifi.where()).read_text())
    assert text.endswith("\none more\n")
    assert not Path(str(verify)).exists()


@pytest.mark.parametrize("given", ["abc", "not base64"])
def test_an_extra_ca_that_is_not_base64(given: str) -> None:
    with (
        pytest.raises(RegistryStackError, match="extra_ca_certificates: not base64: "),
        trusted({"extra_ca_certificates": given}),
    ):
        pass


def test_the_template_s_own_extra_ca_is_none() -> None:
    with trusted({"extra_ca_certificates": "Cg=="}) as verify:
        assert verify is True
