"""The push registry without a login, or with a wrong one: nothing at all, on every verb and path."""

import base64
import http.client
import secrets
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
import requests

from tests.integration.client import PushClient, digest
from tests.integration.host import REGISTRY, REGISTRY_PORT, Host
from tests.support.oci import ImageRef

TCP_SOCKETS, LISTENING = ("/proc/net/tcp", "/proc/net/tcp6"), "0A"
METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")
# Each a password that hurts a shell, YAML, htpasswd or HTTP in another way.
HOSTILE_PASSWORDS = (
    'it\'s "quoted"',
    "$(id) ${HOME} `id` $6$salt$hash",
    "  two  spaces  ",
    "back\\slash\\n\\",
    "colon:and#hash",
    "pässwörd 漢字 😀",
    "@@HOST_NAME@@ %h %%",
    "x" * 200,
)


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


# From the right user and password to an Authorization header that must not do.
WRONG_LOGINS: dict[str, Callable[[str, str], str | None]] = {
    "none": lambda _user, _password: None,
    "wrong password": lambda user, _password: basic(user, "wrong"),
    "empty password": lambda user, _password: basic(user, ""),
    "shortened password": lambda user, password: basic(user, password[:-1]),
    "lengthened password": lambda user, password: basic(user, password + "x"),
    "wrong user": lambda _user, password: basic("root", password),
    "nothing in it": lambda _user, _password: basic("", ""),
    "no colon": lambda user, _password: "Basic " + base64.b64encode(user.encode()).decode(),
    "not base64": lambda _user, _password: "Basic ???",
    "right password as a token": lambda _user, password: f"Bearer {password}",
}


@pytest.fixture(scope="module")
def image(filesystem_host: Host) -> ImageRef:
    return filesystem_host.registry.push("login/image", "1", [1000])


@pytest.mark.parametrize("kind", WRONG_LOGINS)
def test_refused_on_every_verb_and_path(filesystem_host: Host, image: ImageRef, kind: str) -> None:
    anonymous = PushClient(filesystem_host.url(REGISTRY_PORT), None, filesystem_host.ca_file)
    login = WRONG_LOGINS[kind](*filesystem_host.login)
    headers = {"Authorization": login} if login else {}
    paths = (
        "/v2/",
        "/v2/_catalog",
        "/v2/login/image/tags/list",
        "/v2/login/image/manifests/1",
        f"/v2/login/image/manifests/{image.digest}",
        f"/v2/login/image/blobs/{image.layers[0].digest}",
        "/v2/login/image/blobs/uploads/",
        "/v2/login/other/manifests/1",
    )
    for path in paths:
        for method in METHODS:
            assert_refused(anonymous.request(method, path, headers=headers, data=b"x" if method == "PUT" else None))


def assert_refused(answer: requests.Response) -> None:
    assert answer.status_code == 401, f"{answer.request.method} {answer.url}"
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Docker registry"'
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    if answer.request.method != "HEAD":
        assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


def test_refused_requests_change_nothing(filesystem_host: Host, image: ImageRef) -> None:
    registry = filesystem_host.registry
    registry.pull("login/image", "1")
    assert registry.status("GET", "/v2/login/other/tags/list") == 404
    assert registry.manifest("login/image", "1").digest == image.digest


@pytest.mark.parametrize(
    "path",
    [
        "//v2/_catalog",
        "/x/../v2/_catalog",
        "/v2/../v2/_catalog",
        "/v2//_catalog",
        "/%76%32/_catalog",
        "/v2/%2e%2e/v2/_catalog",
        "/v2",
        "/V2/_catalog",
        "/debug/vars",
        "/metrics",
        "/",
        "/v1/_ping",
        "http://localhost/v2/_catalog",
    ],
)
def test_no_way_around_the_login(filesystem_host: Host, image: ImageRef, path: str) -> None:
    status, body = raw_get(filesystem_host, path)
    # 301 leads to /v2/, where the login is asked for.
    assert status in (301, 400, 401, 404)
    assert image.repo.encode() not in body


def raw_get(host: Host, path: str) -> tuple[int, bytes]:
    """A GET of a path that nobody has tidied up."""
    context = ssl.create_default_context(cafile=host.ca_file)
    parts = urlsplit(host.url(REGISTRY_PORT))
    connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, context=context, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_upload_url_is_no_login(filesystem_host: Host) -> None:
    """The URL of an upload is signed: it alone must not let anybody write."""
    url = filesystem_host.registry.start_upload("login/upload")
    anonymous = PushClient(filesystem_host.url(REGISTRY_PORT), None, filesystem_host.ca_file)
    content = secrets.token_bytes(100)
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert_refused(anonymous.request(method, url, params={"digest": digest(content)}, data=content))


@pytest.mark.parametrize("password", HOSTILE_PASSWORDS)
def test_hostile_passwords_open_the_registry(filesystem_host: Host, password: str) -> None:
    """From the parameter through the environment file, the htpasswd file and HTTP, without a character changed."""
    client = PushClient(filesystem_host.url(REGISTRY_PORT), None, filesystem_host.ca_file)
    username = filesystem_host.login[0]
    with filesystem_host.changed(registry_password=password):
        write_logins(filesystem_host)
        assert client.status("GET", "/v2/", headers={"Authorization": basic(username, password)}) == 200
        assert client.status("GET", "/v2/", headers={"Authorization": basic(username, password + " ")}) == 401
    write_logins(filesystem_host)
    assert filesystem_host.registry.status("GET", "/v2/") == 200


def write_logins(host: Host) -> None:
    """What a restart of the edge does first; nginx reads the file at every request."""
    result = host.exec("/opt/registry/render-edge-config")
    assert result.code == 0, result.err


def test_more_logins_from_the_operator(filesystem_host: Host) -> None:
    entry = filesystem_host.exec("openssl", "passwd", "-6", "-salt", "rounds=1000$abcdef", "second secret").out.strip()
    filesystem_host.exec("sh", "-c", 'echo "second:$1" > /var/lib/registry/htpasswd', "sh", entry)
    second = PushClient(filesystem_host.url(REGISTRY_PORT), ("second", "second secret"), filesystem_host.ca_file)
    assert second.status("GET", "/v2/") == 401
    write_logins(filesystem_host)
    assert second.status("GET", "/v2/") == 200
    assert filesystem_host.registry.status("GET", "/v2/") == 200
    filesystem_host.exec("rm", "/var/lib/registry/htpasswd")
    write_logins(filesystem_host)
    assert second.status("GET", "/v2/") == 401


def test_registry_is_reachable_through_the_edge_only(filesystem_host: Host) -> None:
    """On the private network the registry answers on no TCP port but that of its metrics."""
    sockets = [line.split() for line in filesystem_host.exec_in(REGISTRY, "cat", *TCP_SOCKETS).splitlines()]
    ports = {int(one[1].rpartition(":")[2], 16) for one in sockets if one[3] == LISTENING}
    # Docker's resolver listens in every container, on a separate address and port.
    assert {port for port in ports if port < 10000} == {5001}
