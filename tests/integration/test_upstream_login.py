"""Upstreams with a login: Basic, and a token service as Docker Hub's, which must be under the upstream's own domain."""

import pytest

from tests.integration.cache import warm
from tests.integration.session import Run
from tests.integration.simulated_host import EDGE, PROXY, REDIS, Host, MakeHost
from tests.support.oci import ACCEPT
from tests.support.upstream import PASSWORD, USERNAME, Auth, Upstream, now

URL = "http://upstream.test:5000"
# Where the credentials of upstream.test may go, and where not.
TOKEN_SERVICES = {
    "auth.upstream.test": True,
    "a.b.upstream.test": True,
    "elsewhere.test": False,
    "notupstream.test": False,
    "upstream.test.elsewhere.org": False,
    "upstreamxtest": False,
    "test": False,
}


def start(
    this_run: Run, make_host: MakeHost, auth: Auth, auth_name: str = "auth.upstream.test", password: str = PASSWORD
) -> tuple[Host, Upstream]:
    """A mirror that has credentials, and its upstream."""
    name = f"{auth}-{auth_name.replace('.', '-')}-{'right' if password == PASSWORD else 'wrong'}"
    parameters = {"upstream_url": URL, "upstream_username": USERNAME, "upstream_password": password}
    host = make_host(name, **parameters)
    upstream = Upstream.start(this_run.client, host.network.name, this_run.labels, auth=auth, auth_name=auth_name)
    return host.start(REDIS, EDGE, PROXY), upstream


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_login(this_run: Run, make_host: MakeHost, auth: Auth) -> None:
    host, upstream = start(this_run, make_host, auth)
    image = upstream.push("library/private", "1", [1000, 2_000_000])
    warm(host, image)
    since = now()
    assert host.mirror.pull("library/private", "1").digest == image.digest
    assert upstream.blob_fetches(since=since) == 0
    if auth == "token":
        assert "token repository:library/private:pull" in upstream.token_requests
        assert not [line for line in upstream.token_requests if not line.startswith("token ")]
    else:
        # A token service of the upstream's own host: 200 only with the credentials.
        url = f"http://docker-registry-edge:8080/token/{URL.replace('://', '/')}/v2/"
        assert host.exec("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url).out == "200"
    assert_proxy_has_no_credentials(host)


def assert_proxy_has_no_credentials(host: Host) -> None:
    """They stay in the edge, and what the edge logs has none."""
    settings = host.container(PROXY).attrs["Config"]["Env"]
    assert not [one for one in settings if PASSWORD in one]
    assert PASSWORD not in host.log(EDGE) + host.log(PROXY)


def test_credentials_are_not_sent_to_another_domain(this_run: Run, make_host: MakeHost) -> None:
    """An upstream must not be able to have its users' passwords delivered to whom it likes (CVE-2026-33540)."""
    host, upstream = start(this_run, make_host, "token", "auth.elsewhere.test")
    upstream.push("library/private", "1", [1000])
    assert host.mirror.request("GET", "/v2/library/private/manifests/1").status_code in (401, 403, 404, 500, 502, 503)
    assert upstream.token_requests
    assert {line.split()[0] for line in upstream.token_requests} == {"anonymous"}
    for name, trusted in TOKEN_SERVICES.items():
        upstream.name_token_service(name)
        asked = len(upstream.token_requests)
        url = f"http://docker-registry-edge:8080/token/http/{name}:8080/token?service=x&scope=repository:{asked}:pull"
        host.exec("curl", "-s", "-m", "10", "-o", "/dev/null", url)
        assert upstream.token_requests[asked:] == [f"{'token' if trusted else 'anonymous'} repository:{asked}:pull"]


def test_wrong_password(this_run: Run, make_host: MakeHost) -> None:
    host, upstream = start(this_run, make_host, "basic", password="wrong")
    upstream.push("library/private", "1", [1000])
    assert host.mirror.request("GET", "/v2/library/private/manifests/1").status_code in (401, 403, 404, 500, 502, 503)


def test_clients_own_credentials_stay_here(this_run: Run, mirror: Host, upstream: Upstream) -> None:
    """What a client sends to the mirror is not passed on to the upstream as that client's login."""
    upstream.push("library/open", "1", [1000])
    headers = {"Accept": ACCEPT, "Authorization": "Basic b2RkOnBhc3N3b3Jk"}
    assert mirror.mirror.request("GET", "/v2/library/open/manifests/1", headers=headers).status_code == 200
