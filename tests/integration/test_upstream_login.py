"""Upstreams with a login: Basic, and a token service as Docker Hub's, which must be under the upstream's own domain."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.cache import warm
from tests.integration.host import EDGE, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.deadlines import wait_until
from tests.support.oci import ACCEPT
from tests.support.tokens import AUTH_NAME
from tests.support.upstream import PASSWORD, USERNAME, Auth, Upstream, now

URL = "http://upstream.test:5000"
# Token services of upstream.test that may have its login, and those that may not.
TOKEN_SERVICES = {
    "auth.upstream.test": True,
    "a.b.upstream.test": True,
    "named.test": True,
    "elsewhere.test": False,
    "notupstream.test": False,
    "upstream.test.elsewhere.org": False,
    "auth.upstreamxtest": False,
    "sibling.test": False,
}
# What a mirror may answer whose upstream does not let it in.
REFUSED = (401, 403, 404, 500, 502, 503)
# As long as the longest that are known: Red Hat's 900 characters, Google's 1 000, ECR's up to 4 700.
LONG = "".join(f"{number:05d}." for number in range(800))[:4700]
LOGIN_FILE = "/var/lib/registry/logins/default"


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    """A mirror that has credentials; each test brings its upstream."""
    parameters = {"upstream_url": URL, "upstream_username": USERNAME, "upstream_password": PASSWORD}
    parameters |= {"upstream_login_hosts": "default=named.test:8080"}
    return make_host("login", **parameters)


@contextmanager
def upstream_with(
    this_run: Run, host: Host, auth: Auth, auth_name: str = AUTH_NAME, password: str = PASSWORD
) -> Iterator[Upstream]:
    """An upstream that wants a login, with a new mirror in front of it."""
    upstream = Upstream.start(
        this_run.client, host.network.name, this_run.labels, auth=auth, auth_name=auth_name, password=password
    )
    try:
        host.start_empty(REDIS, EDGE, PROXY)
        yield upstream
    finally:
        upstream.remove()


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_login(this_run: Run, host: Host, auth: Auth) -> None:
    repo = f"library/{auth}"
    with upstream_with(this_run, host, auth) as upstream:
        image = upstream.push(repo, "1", [1000, 2_000_000])
        warm(host, image)
        since = now()
        assert host.mirror.pull(repo, "1").digest == image.digest
        assert upstream.blob_fetches(since=since) == 0
        if auth == "token":
            assert f"token repository:{repo}:pull" in upstream.token_requests
            assert not [line for line in upstream.token_requests if not line.startswith("token ")]
    assert_proxy_has_no_credentials(host)


def assert_proxy_has_no_credentials(host: Host) -> None:
    """They stay in the edge, whose log does not show them."""
    settings = host.inspect(PROXY)["Config"]["Env"]
    assert not [one for one in settings if PASSWORD in one]
    logs = host.log(EDGE) + host.log(PROXY)
    assert "/v2/library/" in logs
    assert PASSWORD not in logs


@pytest.mark.parametrize("name", TOKEN_SERVICES)
def test_login_is_sent_to_trusted_token_services_only(this_run: Run, host: Host, name: str) -> None:
    """An upstream must not be able to have its users' passwords delivered to a host of its choice (CVE-2026-33540)."""
    repo, trusted = "library/elsewhere", TOKEN_SERVICES[name]
    with upstream_with(this_run, host, "token", name) as upstream:
        upstream.push(repo, "1", [1000])
        status = host.mirror.request("GET", f"/v2/{repo}/manifests/1", headers={"Accept": ACCEPT}).status_code
        assert status == (200 if trusted else 403)
        wait_for_token_requests(upstream, 1)
        assert {line.split()[0] for line in upstream.token_requests} == {"token" if trusted else "anonymous"}


def test_login_stays_in_the_registrys_own_domain(this_run: Run, host: Host) -> None:
    """Of registry.corp.co.uk that is corp.co.uk, not all of co.uk."""
    alias, repo = "registry.corp.upstream.test", "library/corp"
    with host.changed(upstream_url=f"http://{alias}:5000"):
        upstream = Upstream.start(
            this_run.client,
            host.network.name,
            this_run.labels,
            auth="token",
            auth_name="evil.upstream.test",
            alias=alias,
        )
        try:
            host.start_empty(REDIS, EDGE, PROXY)
            upstream.push(repo, "1", [1000])
            assert host.mirror.request("GET", f"/v2/{repo}/manifests/1").status_code in REFUSED
            wait_for_token_requests(upstream, 1)
            assert {line.split()[0] for line in upstream.token_requests} == {"anonymous"}
        finally:
            upstream.remove()


def wait_for_token_requests(upstream: Upstream, number: int) -> None:
    """Its log comes a moment after its answers."""

    def probe() -> str | None:
        found = upstream.token_requests
        return None if len(found) >= number else f"{len(found)} requests"

    wait_until(probe, 10, f"{number} requests at the token service")


def test_wrong_password(this_run: Run, host: Host) -> None:
    repo = "library/wrong-password"
    with host.changed(upstream_password="wrong"), upstream_with(this_run, host, "basic") as upstream:
        upstream.push(repo, "1", [1000])
        assert host.mirror.request("GET", f"/v2/{repo}/manifests/1").status_code in REFUSED


def test_long_password_by_parameter(this_run: Run, host: Host) -> None:
    repo = "library/long-parameter"
    with host.changed(upstream_password=LONG), upstream_with(this_run, host, "token", password=LONG) as upstream:
        upstream.push(repo, "1", [1000])
        assert host.mirror.pull(repo, "1")
        assert f"token repository:{repo}:pull" in upstream.token_requests


def test_long_password_by_file(this_run: Run, host: Host) -> None:
    """A file counts more than the parameter, and a new one from the next challenge on, without a restart."""
    repo = "library/long-file"
    with upstream_with(this_run, host, "token", password=LONG) as upstream:
        upstream.push(repo, "1", [1000])
        try:
            put_login(host, f"{USERNAME}:{LONG[::-1]}")
            assert host.mirror.request("GET", f"/v2/{repo}/manifests/1", headers={"Accept": ACCEPT}).status_code == 403
            put_login(host, f"{USERNAME}:{LONG}")
            assert host.mirror.pull(repo, "1")
        finally:
            host.exec("rm", "-f", LOGIN_FILE)
        wait_for_token_requests(upstream, 2)
        assert {line.split()[0] for line in upstream.token_requests} == {"refused", "token"}


def put_login(host: Host, login: str) -> None:
    """As docs/operations.md says."""
    host.machine.put(f"{LOGIN_FILE}.new", login.encode(), 0o600)
    done = host.exec("sh", "-c", f"chown 65532:65532 {LOGIN_FILE}.new && mv {LOGIN_FILE}.new {LOGIN_FILE}")
    assert done.code == 0, done.err


def test_clients_own_credentials_stay_here(this_run: Run, mirror: Host, upstream: Upstream) -> None:
    """What a client sends to the mirror is not passed on to the upstream as that client's login."""
    upstream.push("library/open", "1", [1000])
    headers = {"Accept": ACCEPT, "Authorization": "Basic b2RkOnBhc3N3b3Jk"}
    assert mirror.mirror.request("GET", "/v2/library/open/manifests/1", headers=headers).status_code == 200
