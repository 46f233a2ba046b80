"""Images in a real Swift: which objects a push creates, awkward passwords, and the errors when Swift refuses."""

import hashlib
import resource
import secrets
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from registry_stack.machines.swift import ALIAS
from tests.integration.client import PushClient
from tests.integration.host import EDGE, REGISTRY, REGISTRY_PORT, Host
from tests.integration.swift import Swift
from tests.support.oci import Blob, Layer

CONTAINER = "docker_registry"
BLOBS = "files/docker/registry/v2/blobs/sha256"
GIGABYTE = 1 << 30
# Keystone takes up to 72 bytes of password. Swift itself fails for users with a name beyond Latin-1.
HOSTILE_LOGINS = (
    ("it's $HOME", "it's \"quoted\" ''\"'\"''  two  spaces $(id) ${HOME} `id` %h %% $$ "),
    ("back\\slash ünï", "\\back\\n pässwörd 漢字 😀 {a: [b], *c, &d, # e}"),
)


def object_of(blob: Blob) -> str:
    """Where the registry's swift driver keeps a blob."""
    name = blob.digest.removeprefix("sha256:")
    return f"{BLOBS}/{name[:2]}/{name}/data"


def test_blobs_are_in_swift(swift_host: Host, swift: Swift) -> None:
    image = swift_host.registry.push("team/objects", "1", [5_000_000, 100])
    for blob in image.blobs:
        assert int(swift.head(CONTAINER, object_of(blob)).headers["Content-Length"]) == blob.size
        found = hashlib.sha256()
        for chunk in swift.read(CONTAINER, object_of(blob)):
            found.update(chunk)
        assert f"sha256:{found.hexdigest()}" == blob.digest
    tags = swift.objects(CONTAINER, "files/docker/registry/v2/repositories/team/objects/_manifests/tags/1/")
    assert tags


def test_nothing_is_on_the_hosts_disk(swift_host: Host) -> None:
    swift_host.registry.push("team/elsewhere", "1", [100_000])
    assert swift_host.exec("find", "/var/lib/registry/push", "-type", "f").out == ""


def test_gigabyte(swift_host: Host, swift: Swift) -> None:
    """Streamed all the way: neither this client nor the containers hold it in memory."""
    registry = swift_host.registry
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    layer = Layer(GIGABYTE, secrets.token_hex(8))
    blob = registry.push_blob("team/large", layer)
    assert blob.size == len(layer) > GIGABYTE
    registry.pull_blob("team/large", blob)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000
    assert int(swift.head(CONTAINER, object_of(blob)).headers["Content-Length"]) == blob.size
    segments = swift.head(CONTAINER, object_of(blob)).headers["X-Object-Manifest"].partition("/")[2]
    assert sum(one["bytes"] for one in swift.objects(CONTAINER, segments)) == blob.size
    for service in (REGISTRY, EDGE):
        container = swift_host.inspect(service)
        assert container["State"]["OOMKilled"] is False
        # Nor can they hold it on the disk in between.
        assert container["HostConfig"]["ReadonlyRootfs"] is True


@pytest.fixture
def redirecting(swift_host: Host) -> Iterator[Host]:
    with swift_host.restarted_with(REGISTRY, storage_redirect=True):
        yield swift_host


def test_redirect(redirecting: Host, swift: Swift) -> None:
    registry = redirecting.registry
    image = registry.push("team/redirected", "1", [100_000])
    path = f"/v2/team/redirected/blobs/{image.layers[0].digest}"
    answer = registry.expect(307, "GET", path, allow_redirects=False)
    content = get(swift.reached_from_here(answer.headers["Location"]))
    assert f"sha256:{hashlib.sha256(content.content).hexdigest()}" == image.layers[0].digest


def get(url: str) -> requests.Response:
    """Without a token, and with nothing of the registry's login."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=30)


def test_redirect_expires_and_is_for_one_object(redirecting: Host, swift: Swift) -> None:
    registry = redirecting.registry
    images = [registry.push("team/expiring", str(number), [1000 + number]) for number in range(2)]
    location, other = (
        swift.reached_from_here(
            registry.expect(
                307, "GET", f"/v2/team/expiring/blobs/{image.layers[0].digest}", allow_redirects=False
            ).headers["Location"]
        )
        for image in images
    )
    assert get(location).status_code == 200
    expires = parse_qs(urlsplit(location).query)["temp_url_expires"][0]
    assert get(location.replace(expires, "1000000000")).status_code == 401
    assert get(location.replace(expires, str(int(expires) + 1))).status_code == 401
    assert get(urlsplit(location)._replace(path=urlsplit(other).path).geturl()).status_code == 401


def test_no_redirect_by_default(swift_host: Host) -> None:
    image = swift_host.registry.push("team/direct", "1", [1000])
    path = f"/v2/team/direct/blobs/{image.layers[0].digest}"
    swift_host.registry.expect(200, "GET", path, allow_redirects=False)


@pytest.mark.parametrize(("username", "password"), HOSTILE_LOGINS, ids=["shell", "unicode"])
def test_hostile_logins_reach_swift(swift_host: Host, swift: Swift, username: str, password: str) -> None:
    """From the parameter through the environment file, --env-file, YAML and JSON, without a character changed."""
    swift.add_user(username, password)
    with swift_host.restarted_with(REGISTRY, os_username=username, os_password=password):
        image = swift_host.registry.push("team/hostile", "1", [1000])
        swift_host.registry.pull("team/hostile", image.digest)


def test_project_by_its_id(swift_host: Host, swift: Swift) -> None:
    """As Heat gives it when no project is named."""
    unnamed = {"os_project_name": "", "os_project_domain_name": "none", "OS::project_id": swift.token.project}
    with swift_host.restarted_with(REGISTRY, **unnamed):
        image = swift_host.registry.push("team/by-id", "1", [1000])
        assert swift.head(CONTAINER, object_of(image.layers[0])).status_code == 200


WRONG = {
    "password": (
        {"os_password": "wrong"},
        f"error: Swift: http://{ALIAS}:5000/v3 refuses user 'registry' (HTTP 401): "
        "check os_username, os_password, the project and the domains\n",
    ),
    "user": (
        {"os_username": "no'body"},
        f"error: Swift: http://{ALIAS}:5000/v3 refuses user 'no'body' (HTTP 401): "
        "check os_username, os_password, the project and the domains\n",
    ),
    "project": (
        {"os_project_name": "none"},
        f"error: Swift: http://{ALIAS}:5000/v3 refuses user 'registry' (HTTP 401): "
        "check os_username, os_password, the project and the domains\n",
    ),
    "host": (
        {"os_authurl": f"http://{ALIAS}:5999"},
        f"error: Swift: os_authurl http://{ALIAS}:5999/v3 cannot be reached from this host\n",
    ),
    "service": (
        {"os_authurl": f"http://{ALIAS}:8080/v3"},
        f"error: Swift: os_authurl http://{ALIAS}:8080/v3 answers HTTP 400 to a request for a token: "
        "is it Keystone's public endpoint?\n",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_check_swift_says_what_is_wrong(swift_host: Host, wrong: str) -> None:
    parameters, message = WRONG[wrong]
    with swift_host.changed(**parameters):
        result = swift_host.exec("/opt/registry/check-swift")
    assert (result.code, result.out, result.err) == (1, "", message)
    assert swift_host.exec("/opt/registry/check-swift").code == 0


@pytest.mark.parametrize("suffix", ["", "/", "/v3", "/v3/", "/v2.0", "/v2"])
def test_every_form_of_the_auth_url(swift_host: Host, suffix: str) -> None:
    with swift_host.changed(os_authurl=f"http://{ALIAS}:5000{suffix}"):
        assert swift_host.exec("/opt/registry/check-swift").code == 0


def test_swift_away_and_back(swift_host: Host, swift: Swift) -> None:
    """Requests fail while it is, none is answered from thin air, and nothing has to be restarted afterwards."""
    image = swift_host.registry.push("team/away", "1", [1000])
    swift.container.get_wrapped_container().pause()
    try:
        impatient = PushClient(swift_host.url(REGISTRY_PORT), swift_host.login, swift_host.ca_file)
        with pytest.raises(requests.ReadTimeout):
            impatient.request("GET", f"/v2/team/away/blobs/{image.layers[0].digest}", timeout=1)
    finally:
        swift.container.get_wrapped_container().unpause()
    assert swift_host.registry.pull("team/away", "1").digest == image.digest
