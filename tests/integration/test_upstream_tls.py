"""An upstream with a private CA: reached when `extra_ca_certificates` has it, and otherwise not told anything."""

import base64

import pytest

from tests.integration.host import EDGE, PROXY, REDIS, Host, MakeHost
from tests.integration.session import Run
from tests.support.certificates import Authority
from tests.support.oci import ACCEPT
from tests.support.upstream import NAME, Upstream, now


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("the upstream's own")


@pytest.fixture(scope="module")
def host(make_host: MakeHost) -> Host:
    return make_host("tls", upstream_url=f"https://{NAME}:5000")


@pytest.fixture(scope="module")
def upstream(this_run: Run, host: Host, authority: Authority) -> Upstream:
    """An upstream with a certificate of this CA."""
    return Upstream.start(this_run.client, host.network.name, this_run.labels, tls=authority.issue([NAME]))


def test_not_trusted_without(host: Host, upstream: Upstream) -> None:
    host.start(REDIS, EDGE, PROXY)
    upstream.push("library/tls", "1", [1000])
    since = now()
    answer = host.mirror.request("GET", "/v2/library/tls/manifests/1", headers={"Accept": ACCEPT})
    assert answer.status_code >= 400
    assert upstream.requests(since) == []
    log = host.log(EDGE)
    assert "certificate verify failed" in log or "certificate verify error" in log


def test_trusted_by_extra_ca(host: Host, upstream: Upstream, authority: Authority) -> None:
    given = base64.b64encode(authority.pem).decode()
    with host.changed(extra_ca_certificates=given):
        host.start_empty(REDIS, EDGE, PROXY)
        image = upstream.push("library/tls", "2", [100_000])
        assert host.mirror.pull("library/tls", "2").digest == image.digest
        assert upstream.blob_fetches() > 0
