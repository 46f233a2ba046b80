"""An upstream with a private CA: reached when `extra_ca_certificates` has it, and otherwise not told anything."""

import base64

import pytest

from tests.integration.session import Run
from tests.integration.simulated_host import EDGE, PROXY, REDIS, Host, MakeHost
from tests.support.certificates import Authority
from tests.support.oci import ACCEPT
from tests.support.upstream import NAME, Upstream


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("the upstream's own")


def start(
    this_run: Run, make_host: MakeHost, authority: Authority, name: str, **parameters: str
) -> tuple[Host, Upstream]:
    """A mirror of an upstream whose certificate is of this CA."""
    host = make_host(name, upstream_url=f"https://{NAME}:5000", **parameters)
    upstream = Upstream.start(this_run.client, host.network.name, this_run.labels, tls=authority.issue([NAME]))
    return host.start(REDIS, EDGE, PROXY), upstream


def test_trusted_by_extra_ca(this_run: Run, make_host: MakeHost, authority: Authority) -> None:
    given = base64.b64encode(authority.pem).decode()
    host, upstream = start(this_run, make_host, authority, "trusting", extra_ca_certificates=given)
    image = upstream.push("library/tls", "1", [100_000])
    assert host.mirror.pull("library/tls", "1").digest == image.digest
    assert upstream.blob_fetches() > 0


def test_not_trusted_without(this_run: Run, make_host: MakeHost, authority: Authority) -> None:
    host, upstream = start(this_run, make_host, authority, "distrusting")
    upstream.push("library/tls", "1", [1000])
    answer = host.mirror.request("GET", "/v2/library/tls/manifests/1", headers={"Accept": ACCEPT})
    assert answer.status_code >= 400
    assert upstream.requests() == []
    assert "certificate verify failed" in host.log(EDGE) or "certificate verify error" in host.log(EDGE)
