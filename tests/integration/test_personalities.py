"""The mirror in front of upstreams with the habits of public registries: each test is named after what they do."""

import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin

import pytest

from loadtests.support.registry.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.integration.client import digest
from tests.integration.host import Host
from tests.integration.registries import TTL_S, Ask, pull, wait_until_stale
from tests.support.deadlines import wait_until
from tests.support.personalities import MIRRORED, Personalities, port_of


@pytest.mark.parametrize("name", ["plain", *(name for name in MIRRORED if name != "thief")])
def test_image_of_each_registry(ask: Ask, name: str) -> None:
    labels = pull(ask, name, f"team/{name}")["config"]["Labels"]
    assert labels["repository"] == f"team/{name}"
    # Who answers where it redirects to.
    assert labels["upstream"] == str(port_of({"k8s": "plain", "lscr": "ghcr"}.get(name, name)))


def test_tag_is_refreshed_where_the_redirect_leads(ask: Ask, personalities: Personalities) -> None:
    pull(ask, "k8s", "fresh/tag")
    before = len(personalities.log())

    def refreshed() -> str | None:
        ask("k8s", "/v2/fresh/tag/manifests/1")
        found = [
            line for line in personalities.log()[before:] if line[0] == "plain" and line[2].endswith("/tag/manifests/1")
        ]
        return None if found else "the mirror has not asked again"

    wait_until(refreshed, 10 * TTL_S, "the tag to be refreshed")


def test_login_is_not_sent_to_another_host(ask: Ask, personalities: Personalities) -> None:
    """An upstream must not be able to have its login delivered to a host of its choice (CVE-2026-33540)."""
    assert ask("thief", "/v2/team/stolen/manifests/1").status_code in (401, 403)
    requested = [line for line in personalities.log() if line[0] == "tokens" and "stolen" in line[2]]
    assert requested
    assert {line[4] for line in requested} == {"-"}


def test_login_is_sent_only_where_it_is_asked_for(ask: Ask, personalities: Personalities) -> None:
    before = len(personalities.log())
    for name in ("ecr", "gitlab", "mute"):
        pull(ask, name, f"once/{name}")
    for personality, _method, path, _status, scheme in personalities.log()[before:]:
        if scheme == "Basic":
            assert personality == "ecr" or path.startswith("/token"), (personality, path)
        if personality in ("storage", "plain"):
            assert scheme == "-", path


def test_tags_in_pages(ask: Ask, personalities_host: Host, personalities: Personalities) -> None:
    """Relative and absolute links, with the prefix of the upstream, lead through the mirror."""
    for name in ("plain", "ghcr", "path", "lscr"):
        answer, tags = ask(name, "/v2/team/pages/tags/list", params={"n": "3"}), []
        while True:
            assert answer.status_code == 200, (name, answer.text)
            tags += answer.json()["tags"]
            if "next" not in answer.links:
                break
            answer = personalities_host.mirror.request("GET", urljoin("/", answer.links["next"]["url"]))
        assert tags == [f"v{number}" for number in range(8)], name


def test_pulled_tags_are_listed_as_stale_during_an_outage(ask: Ask, personalities: Personalities) -> None:
    pull(ask, "quay", "team/outage")
    with personalities.outage("quay"):
        answer = ask("quay", "/v2/team/outage/tags/list")
    assert answer.json()["tags"] == ["1"]
    assert answer.headers["X-Cache"] == "STALE"


def test_referrers_of_an_upstream_that_has_them(ask: Ask) -> None:
    subject = ask("plain", "/v2/team/signed/manifests/1").headers["Docker-Content-Digest"]
    answer = ask("plain", f"/v2/team/signed/referrers/{subject}")
    assert answer.status_code == 200
    assert len(answer.json()["manifests"]) == 1
    # A client then looks for a tag of that name.
    assert ask("gar", f"/v2/team/signed/referrers/{subject}").status_code == 404


@pytest.mark.parametrize("accept", ["*/*", None, "application/*"])
def test_accept_everything(ask: Ask, accept: str | None) -> None:
    answer = ask("plain", "/v2/team/any/manifests/1", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text


def test_accept_only_another_kind(ask: Ask) -> None:
    answer = ask("plain", "/v2/team/kinds/manifests/1", headers={"Accept": DOCKER_MANIFEST})
    assert answer.status_code == 404
    assert "accept" in answer.text
    assert "does not answer" not in answer.text


def test_what_a_client_does_not_accept_is_still_the_tag_for_others(ask: Ask) -> None:
    """Docker Hub, for one, answers with the manifest of one platform to who accepts no index."""
    ask("plain", "/v2/team/platforms/manifests/1", headers={"Accept": OCI_MANIFEST})
    assert ask("plain", "/v2/team/platforms/manifests/1").headers["Content-Type"] == OCI_INDEX


def test_repository_whose_name_begins_with_another_registrys(ask: Ask, personalities: Personalities) -> None:
    nested = ask("plain", "/v2/docker.io/library/app/manifests/1")
    assert nested.content == personalities.direct("plain", "/v2/docker.io/library/app/manifests/1").content


def test_large_headers(ask: Ask) -> None:
    for kilobytes in (6, 20, 30):
        pull(ask, "plain", f"team/header-{kilobytes}")


def test_slow_manifest(ask: Ask) -> None:
    pull(ask, "plain", "team/slow-8")


def test_head_that_is_refused(ask: Ask) -> None:
    pull(ask, "plain", "nohead_405/app")


def test_head_of_a_cold_blob_fetches_nothing(ask: Ask, personalities: Personalities) -> None:
    layer = ask("plain", "/v2/team/asked-size-3000000/manifests/1").json()["layers"][0]
    answer = ask("plain", f"/v2/team/asked-size-3000000/blobs/{layer['digest']}", method="HEAD")
    assert int(answer.headers["Content-Length"]) == layer["size"]
    assert not [line for line in personalities.log() if line[1] == "GET" and layer["digest"] in line[2]]


def test_rate_limit_of_a_cold_blob(ask: Ask) -> None:
    layer = ask("plain", "/v2/limited_blobs/app/manifests/1").json()["layers"][0]
    answer = ask("plain", f"/v2/limited_blobs/app/blobs/{layer['digest']}")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"


def test_unknown_blob(ask: Ask) -> None:
    answer = ask("plain", f"/v2/team/unknown/blobs/{digest(b'nothing')}")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "BLOB_UNKNOWN"


@pytest.mark.parametrize("refusal", ["401", "403"])
def test_login_that_the_upstream_takes_back(
    ask: Ask, personalities_host: Host, personalities: Personalities, refusal: str
) -> None:
    """A cached tag is served as during an outage, and what is not cached is refused by its true cause."""
    pull(ask, "ecr", f"revoked/by-{refusal}")
    personalities.set(password="changed", refusal=refusal)
    try:
        wait_until_stale(ask, "ecr", f"/v2/revoked/by-{refusal}/manifests/1")
        cold = ask("ecr", f"/v2/revoked/cold-{refusal}/manifests/1")
        assert cold.status_code == 403
        assert "refuses" in cold.text
        # What the alert for a refused login counts.
        line = f"upstream|ecr|tag|miss|{refusal} "
        wait_until(
            lambda: None if line in personalities_host.read("/run/registry/access/log") else line, 5, "the count"
        )
    finally:
        personalities.set(password="secret", refusal="401")


@pytest.mark.usefixtures("personalities")
def test_each_registry_counts_as_up(personalities_host: Host) -> None:
    """Also one that redirects /v2/, and one with a path."""
    done = personalities_host.exec("/opt/registry/collect-slow-metrics")
    assert done.code == 0, done.err
    metrics = personalities_host.read("/run/registry/metrics/slow.prom")
    for name in MIRRORED:
        assert f'registry_edge_upstream_up{{upstream="{name}"}} 1\n' in metrics, name


def test_login_in_a_file_that_is_renewed(ask: Ask, personalities_host: Host, personalities: Personalities) -> None:
    """ECR's passwords have up to 4 700 characters and expire after 12 hours."""
    try:
        for password in ("a" * 4700, "b" * 4700):
            personalities.set(password=password)
            assert ask("ecr", f"/v2/renewed/{password[0]}/manifests/1").status_code == 403
            new = "/var/lib/registry/logins/new"
            personalities_host.machine.put(new, f"user:{password}\n".encode(), 0o600)
            assert (
                personalities_host.exec(
                    "sh", "-c", f"chown 65532:65532 {new} && mv {new} /var/lib/registry/logins/ecr"
                ).code
                == 0
            )
            pull(ask, "ecr", f"renewed/{password[0]}")
    finally:
        personalities.set(password="secret")
        personalities_host.exec("rm", "-f", "/var/lib/registry/logins/ecr")


def test_herd_on_one_cold_blob_is_one_fetch(ask: Ask, personalities: Personalities) -> None:
    repo = "team/herd-size-5000000"
    layer = ask("quay", f"/v2/{repo}/manifests/1").json()["layers"][0]
    start = threading.Barrier(8)

    def fetch(_number: int) -> str:
        start.wait()
        return digest(ask("quay", f"/v2/{repo}/blobs/{layer['digest']}").content)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(fetch, range(8))) == {layer["digest"]}
    fetches = [line for line in personalities.log() if line[:2] == ["storage", "GET"] and layer["digest"] in line[2]]
    assert len(fetches) == 1


def test_v2_without_a_slash(personalities_host: Host, personalities: Personalities) -> None:
    assert personalities_host.mirror.request("GET", "/v2", allow_redirects=False).status_code == 200
