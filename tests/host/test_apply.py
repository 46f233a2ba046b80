"""registry-apply: settings of a running host, changed in place, or refused with the old ones in service."""

import base64
import shlex
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event

import pytest
from testinfra.host import Host

from registry_stack.docker.engine import engine
from tests.host.targets import LocalTarget, Target
from tests.support.certificates import Authority, own_authority, serials, wait_for
from tests.support.deadlines import deadline, wait_until
from tests.support.oci import OciClient
from tests.support.upstream import Upstream

ENVIRONMENT = "/etc/docker-registry/environment"
BACK = "(the settings from before are in service again)"


def settings(host: Host, file: str = ENVIRONMENT) -> dict[str, str]:
    """What the host has there."""
    lines = host.check_output("cat %s", file).splitlines()
    return {name: shlex.split(value)[0] for name, _equals, value in (line.partition("=") for line in lines)}


def lines_of(values: Mapping[str, str]) -> str:
    quoted = {name: value.replace("'", "'\"'\"'") for name, value in values.items()}
    return "".join(f"{name}='{value}'\n" for name, value in quoted.items())


def apply(target: Target, text: str) -> tuple[int, str]:
    """Hand the settings over; the exit code and the last line that was written."""
    file = "/root/settings"
    target.write(file, text.encode())
    try:
        done = target.host.run(f"/opt/registry/registry-apply {file} 2>&1")
    finally:
        target.host.check_output(f"rm {file}")
    return done.rc, done.stdout.strip().splitlines()[-1]


@contextmanager
def applied(target: Target, **values: str) -> Iterator[None]:
    """With other settings for a while."""
    before = settings(target.host)
    code, said = apply(target, lines_of(values))
    assert code == 0, said
    try:
        yield
    finally:
        code, said = apply(target, lines_of({name: before[name] for name in values}))
        assert code == 0, said
        assert settings(target.host) == before


def containers(host: Host) -> dict[str, str]:
    """The id of each container."""
    lines = host.check_output("docker ps --no-trunc --format '{{.Names}} {{.ID}}'").splitlines()
    return dict(line.split() for line in lines)


@contextmanager
def requests_going_on(target: Target, upstream: Upstream) -> Iterator[list[int]]:
    """Pulls what is cached and pushes all the time; every answer is the right one."""
    image = upstream.push("library/applied", "1", [200_000])
    target.mirror().pull("library/applied", "1")
    stop, done = Event(), [0, 0]

    def fresh(client: OciClient) -> OciClient:
        """A connection for each request: unlike others, requests does not try again when an idle one is closed."""
        client.session.headers["Connection"] = "close"
        return client

    def pull() -> None:
        while not stop.is_set():
            assert fresh(target.mirror()).pull("library/applied", "1").digest == image.digest
            done[0] += 1

    def push() -> None:
        for number in count():
            if stop.is_set():
                return
            fresh(target.registry()).push("applied/pushed", str(number), [200_000])
            done[1] += 1

    with ThreadPoolExecutor(2) as pool:
        begun: list[Future[None]] = [pool.submit(one) for one in (pull, push)]
        try:
            yield done
        finally:
            stop.set()
        for one in begun:
            one.result()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("TAG_TTL='5'\n", "line 1: there is no setting TAG_TTL"),
        ("# a comment\n\nHOST_NAME='other'\n", "line 3: HOST_NAME cannot change: replace the server"),
        ("TAG_TTL_SECONDS=$(reboot)\n", "line 1: write KEY='value', and a quote in the value '\"'\"'"),
        ("UPSTREAM_PASSWORD='se''cret'\n", "line 1: write KEY='value', and a quote in the value '\"'\"'"),
    ],
)
def test_what_is_no_setting_is_refused(target: Target, host: Host, text: str, reason: str) -> None:
    before = settings(host)
    assert apply(target, text) == (1, f"error: /root/settings, {reason}")
    assert settings(host) == before


def test_same_settings_change_nothing(target: Target, host: Host) -> None:
    before = containers(host)
    same = settings(host) | {"SIGNAL_URL": "http://127.0.0.1/of-another-stack"}
    assert apply(target, lines_of(same)) == (0, "nothing changed")
    assert containers(host) == before


def test_no_request_is_lost(target: Target, host: Host, upstream: Upstream) -> None:
    """While the edge takes another configuration."""
    before = containers(host)
    with requests_going_on(target, upstream) as done:
        pulls = done[0]
        with applied(target, TAG_TTL_SECONDS="30"):
            assert "max-age=23, stale-while-revalidate=30," in host.check_output("cat /run/registry/edge/upstream.conf")
            assert done[0] > pulls
            assert done[1] > 0
    assert containers(host) == before


@pytest.mark.long
def test_rotated_login(target: Target, host: Host) -> None:
    before, password = containers(host), "with ' and \" and $x"
    with applied(target, REGISTRY_PASSWORD=password):
        target.registry(("docker", password)).expect(200, "GET", "/v2/")
        target.registry().expect(401, "GET", "/v2/")
    target.registry().expect(200, "GET", "/v2/")
    assert containers(host) == before


def test_wrong_image_is_found_before_anything_stops(target: Target, host: Host) -> None:
    before, images = containers(host), settings(host)
    code, said = apply(target, f"EDGE_IMAGE='{images['REDIS_IMAGE']}'\n")
    assert code == 1
    assert 'exec: "nginx": executable file not found' in said
    assert apply(target, "EDGE_IMAGE='127.0.0.1:1/nothing:1'\n") == (
        1,
        "error: image 127.0.0.1:1/nothing:1 cannot be pulled: "
        "check the parameter and whether this host reaches its registry",
    )
    assert (containers(host), settings(host)) == (before, images)


def test_edited_file_is_applied(target: Target, host: Host) -> None:
    """Without an argument; what is refused is kept beside it, and no boot takes it."""
    before = host.check_output(f"cat {ENVIRONMENT}") + "\n"
    target.write(ENVIRONMENT, before.replace("UPSTREAMS=''", "UPSTREAMS='nobody'").encode())
    done = host.run("/opt/registry/registry-apply")
    assert done.rc == 1
    assert done.stderr.startswith("error: upstreams: no registry is known as nobody, only ")
    assert host.check_output(f"cat {ENVIRONMENT}") + "\n" == before
    assert settings(host, f"{ENVIRONMENT}.refused")["UPSTREAMS"] == "nobody"
    host.check_output(f"rm {ENVIRONMENT}.refused")


@pytest.mark.long
def test_image_that_does_not_start_goes_back(target: Target, host: Host, upstream: Upstream) -> None:
    before = settings(host)
    with requests_going_on(target, upstream):
        code, said = apply(target, f"FETCH_IMAGE='{before['EDGE_IMAGE']}'\nTAG_TTL_SECONDS='5'\n")
    assert code == 1
    assert said.startswith("error: docker-registry-fetch does not start: ")
    assert said.endswith(BACK)
    assert settings(host) == before
    assert host.check_output("systemctl is-active docker-registry-fetch") == "active"
    host.check_output(f"rm {ENVIRONMENT}.refused")


@pytest.mark.long
@pytest.mark.parametrize("unit", ["docker-registry-edge", "docker-registry"])
def test_new_image_loses_no_request(target: Target, host: Host, upstream: Upstream, unit: str) -> None:
    """Who connects to an edge that is started anew, and what is asked of a registry that is, is made to wait."""
    parameter = {"docker-registry-edge": "EDGE_IMAGE", "docker-registry": "REGISTRY_IMAGE"}[unit]
    before, image = containers(host), settings(host)[parameter]
    # Another image, with the same in it.
    host.check_output("printf 'FROM %s\\nLABEL another=yes\\n' | docker build -q -t another:1 -", image)
    try:
        with requests_going_on(target, upstream), applied(target, **{parameter: "another:1"}):
            assert {name for name, one in containers(host).items() if before.get(name) != one} == {unit}
    finally:
        host.check_output("docker rmi another:1")


@pytest.mark.long
def test_storage_is_tried_before_anything_stops(target: Target, host: Host) -> None:
    before = containers(host)
    given = {"STORAGE_DRIVER": "s3", "S3_ENDPOINT": "http://127.0.0.1:1", "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b"}
    code, said = apply(target, lines_of(given))
    assert code == 1
    assert "connection refused" in said
    given = {"STORAGE_DRIVER": "swift", "OS_AUTHURL": "http://127.0.0.1:1/v3", "OS_PASSWORD": "new"}
    code, said = apply(target, lines_of(given))
    assert (code, said) == (1, "error: Swift: os_authurl http://127.0.0.1:1/v3 cannot be reached from this host")
    assert containers(host) == before


@pytest.mark.long
def test_new_upstream(target: Target, host: Host, upstream: Upstream) -> None:
    """One is added, another is put before it, and a name gets another URL: each serves its own image."""
    assert isinstance(target, LocalTarget)
    before = containers(host)
    others = {
        name: Upstream.start(
            engine(),
            target.options.network,
            target.labels,
            name=f"{target.options.name}-{name}",
            alias=f"{name}.test",
        )
        for name in ("one", "two")
    }
    try:
        images = {name: other.push("library/new", "1", [name.encode() * 1000]) for name, other in others.items()}

        def check(*names: str) -> None:
            for name in names:
                found = target.mirror().pull("library/new", "1", ns=others[name].url.partition("//")[2])
                assert found.digest == images[name].digest

        with requests_going_on(target, upstream), applied(target, UPSTREAMS=f"one={others['one'].url}"):
            check("one")
            with applied(target, UPSTREAMS=f"two={others['two'].url},one={others['one'].url}"):
                check("one", "two")
                names = host.check_output("tail -n +2 /home/root/registry_certs/.generated").splitlines()
                assert {f"DNS:one.{target.fqdn}", f"DNS:two.{target.fqdn}"} <= set(names)
            # One name, another URL, the same tag: another image.
            with applied(target, UPSTREAMS=f"one={others['two'].url}"):
                check("two")
            check("one")
        assert containers(host) == before
        assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
    finally:
        for other in others.values():
            other.remove()


@pytest.mark.long
def test_own_pair_is_served_and_a_bad_one_refused(target: Target, host: Host) -> None:
    before = serials(target)
    authority, foreign = own_authority(host), Authority.create("another")
    pair = authority.issue([target.reached_as])
    own = {"SERVER_CERTIFICATE": pair.certificate, "SERVER_CERTIFICATE_KEY": pair.key, "CA_CERTIFICATE": authority.pem}
    encoded = {name: base64.b64encode(pem).decode() for name, pem in own.items()}
    start = "error: server_certificate, server_certificate_key, ca_certificate: "
    wrong = base64.b64encode(authority.issue(["x"]).key).decode()
    assert apply(target, lines_of(encoded | {"SERVER_CERTIFICATE_KEY": wrong})) == (
        1,
        f"{start}server.crt and server.key do not belong together",
    )
    wrong = base64.b64encode(foreign.pem).decode()
    assert apply(target, lines_of(encoded | {"CA_CERTIFICATE": wrong})) == (
        1,
        f"{start}ca.crt has not signed server.crt",
    )
    assert serials(target) == before
    with applied(target, **encoded):
        wait_for(target, pair)
        host.check_output("systemctl start gen-cert-key")
        assert serials(target) == {pair.serial}
    wait_until(
        lambda: None if serials(target) == before else "another", deadline(host, 20), "the generated certificate"
    )


@pytest.mark.long
def test_second_waits_for_the_first(target: Target, host: Host) -> None:
    both = (
        "printf \"TAG_TTL_SECONDS='10'\\n\" | /opt/registry/registry-apply /dev/stdin & first=$!; "
        "printf \"TAG_MAX_STALE_SECONDS='90000'\\n\" | /opt/registry/registry-apply /dev/stdin && wait $first"
    )
    before = settings(host)
    host.check_output(both)
    now = settings(host)
    assert (now["TAG_TTL_SECONDS"], now["TAG_MAX_STALE_SECONDS"]) == ("10", "90000")
    assert apply(target, lines_of(before))[0] == 0
