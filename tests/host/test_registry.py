"""The push registry on :5000: a login for everything, push, pull, delete."""

import pytest

from tests.host.targets import Target
from tests.support.oci import OciClient

REQUESTS = [
    ("GET", "/v2/"),
    ("GET", "/v2/_catalog"),
    ("GET", "/v2/login/check/tags/list"),
    ("HEAD", "/v2/login/check/manifests/1"),
    ("GET", "/v2/login/check/manifests/1"),
    ("POST", "/v2/login/check/blobs/uploads/"),
    ("PATCH", "/v2/login/check/blobs/uploads/1"),
    ("PUT", "/v2/login/check/manifests/1"),
    ("DELETE", "/v2/login/check/manifests/1"),
]


@pytest.mark.parametrize("login", ["none", "wrong password", "wrong user", "empty password"])
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_login_is_required(target: Target, method: str, path: str, login: str) -> None:
    user, password = target.deployment.registry_username, target.deployment.password
    logins = {
        "none": None,
        "wrong password": (user, f"{password}x"),
        "wrong user": (f"{user}x", password),
        "empty password": (user, ""),
    }
    client = OciClient(f"https://{target.authority(5000)}", logins[login], target.deployment.ca_file)
    answer = client.expect(401, method, path, data=b"x" if method in ("PATCH", "PUT") else None)
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Docker registry"'
    if method != "HEAD":
        assert answer.json()["errors"] == [{"code": "UNAUTHORIZED", "message": "authentication required"}]


def test_push_and_pull(registry: OciClient) -> None:
    pushed = registry.push("registry/push", "1", [1000, 20_000_000])
    assert registry.pull("registry/push", "1").digest == pushed.digest
    assert registry.pull("registry/push", pushed.digest).layers == pushed.layers
    assert "registry/push" in registry.catalog()
    assert registry.tags("registry/push") == ["1"]


def test_upload_stays_on_the_front_door(target: Target, registry: OciClient) -> None:
    """Location headers name the address that the client used, not one behind the edge."""
    assert registry.start_upload("registry/location").startswith(f"https://{target.authority(5000)}/v2/")


def test_delete(registry: OciClient) -> None:
    pushed = registry.push("registry/delete", "1", [1000])
    registry.delete("registry/delete", pushed.digest)
    registry.expect(404, "GET", f"/v2/registry/delete/manifests/{pushed.digest}")


def test_pushed_image_is_not_on_the_mirror(registry: OciClient, mirror: OciClient) -> None:
    registry.push("registry/private", "1", [1000])
    mirror.expect(404, "GET", "/v2/registry/private/manifests/1")
