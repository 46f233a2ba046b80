"""What the preflight knows without asking a cloud."""

import pytest

from harness.cloud.preflight import keystone_url


@pytest.mark.parametrize("end", ["", "/", "/v2", "/v2/", "/v2.0", "/v2.0/", "/v3", "/v3/"])
def test_keystone_is_asked_by_version_3(end: str) -> None:
    values = {"os_authurl": f"https://keystone.example.com:5000{end}"}
    assert keystone_url(values) == "https://keystone.example.com:5000/v3"


def test_a_path_before_the_version_stays() -> None:
    assert (
        keystone_url({"os_authurl": "https://cloud.example.com/identity/v2.0"})
        == "https://cloud.example.com/identity/v3"
    )
