"""Bad input to `deploy` that needs an engine to be found: each with its exact message, soon, leaving nothing."""

import base64
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from registry_stack.docker.engine import engine
from registry_stack.targets.local import target as local
from tests.support.commands import Done, deploy, run
from tests.support.deadlines import scaled

PREFIX = f"hosttest-{secrets.token_hex(3)}"
BROKEN_PEM = "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n"
# Further cases that take their time: each is found after the host has tried several times, for a minute.
PATIENT = ("upstream", "auth-url")
WITHIN_S = 90
# With the images to be built first, Swift's as well.
_IMAGES_S = 900
# case: (arguments, message). The host boots, finds out, and its reason comes back.
ON_THE_HOST = {
    "upstream": (
        ["-P", "require_upstream=true"],
        "error: the host does not work: the mirror cannot pull library/hello-world:latest from http://127.0.0.1:9: ",
    ),
    "swift-password": (
        ["--swift", "-P", "os_password=wrong"],
        "error: the host does not work: docker-registry does not start: Swift: http://swift.test:5000/v3 refuses user "
        "'registry' (HTTP 401): check os_username, os_password, the project and the domains",
    ),
    "auth-url": (
        ["-P", "storage_driver=swift", "-P", "os_authurl=http://keystone.invalid:5000"],
        "error: the host does not work: docker-registry does not start: Swift: os_authurl "
        "http://keystone.invalid:5000/v3 cannot be reached from this host",
    ),
    "certificate": (
        ["-P", f"extra_ca_certificates={base64.b64encode(BROKEN_PEM.encode()).decode()}"],
        "error: the host does not work: docker-registry-edge does not start: "
        "extra_ca_certificates holds no PEM certificates, or a broken one",
    ),
}


@pytest.fixture(scope="module")
def attempts(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Done]]]:
    """All of those that this run has chosen at once: they mostly wait."""
    chosen = {item.name for item in request.session.items}
    names = {
        case: f"{PREFIX}-{case}"
        for case in ON_THE_HOST
        if f"{test_host_failure_reason_is_reported.__name__}[{case}]" in chosen
    }
    # Two commands must not install the same packages at a time.
    engine()
    with ThreadPoolExecutor(2) as pool:
        begun = {
            case: pool.submit(run, *deploy(name, *ON_THE_HOST[case][0]), timeout_s=_IMAGES_S)
            for case, name in names.items()
        }
    yield begun
    for name in names.values():
        local.destroy(name)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.long] if case in PATIENT else []) for case in ON_THE_HOST]
)
def test_host_failure_reason_is_reported(attempts: dict[str, Future[Done]], case: str) -> None:
    done = attempts[case].result()
    assert done.error.startswith(ON_THE_HOST[case][1]), done.err
    assert done.code == 1
    assert done.seconds_since(f"booting {PREFIX}-{case} ") < scaled(WITHIN_S)
    assert local.list_resources(engine(), f"{PREFIX}-{case}") == []


def test_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run("deploy", "--name", f"{PREFIX}-port", "--mirror-port", str(port), "--registry-port", "0")
    assert (done.code, done.error) == (
        1,
        f"error: port {port} on 127.0.0.1 is taken: stop what listens there, or choose another with --mirror-port",
    )
    assert local.list_resources(engine(), f"{PREFIX}-port") == []


def test_two_taken_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [server.getsockname()[1] for server in (one, two)]
        options = ("--mirror-port", str(ports[0]), "--registry-port", str(ports[1]))
        done = run("deploy", "--name", f"{PREFIX}-port", *options)
    assert (done.code, done.error) == (
        1,
        f"error: port {ports[0]} and {ports[1]} on 127.0.0.1 are taken: stop what listens there, "
        "or choose another with --mirror-port and --registry-port",
    )


@pytest.mark.parametrize("image", ["redis/:8", "redis:8:0", "my.host:port/redis"])
def test_image_name_that_does_not_parse(image: str) -> None:
    done = run(*deploy(f"{PREFIX}-image", "-P", f"redis_image={image}"))
    assert (done.code, done.error) == (
        1,
        f"error: redis_image: '{image}' is not an image reference: "
        "write it as [REGISTRY/]NAME[:TAG][@DIGEST], lower case, like registry:2.8.3",
    )
