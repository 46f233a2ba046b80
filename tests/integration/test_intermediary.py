"""The mirror between clients and upstreams that redirect, challenge, page and refuse in ways that clients follow.

The name of a repository says what the upstream does: tests/support/personality_quirks.py.
"""

from urllib.parse import urljoin

import pytest

from tests.integration.host import Host
from tests.integration.registries import Ask, pull
from tests.support.personalities import Personalities
from tests.support.personality_quirks import CHALLENGES, LINKS

TAGS = [f"v{number}" for number in range(8)]


def all_tags(ask: Ask, host: Host, name: str, repo: str) -> list[str]:
    """Page through them as a client does that keeps to the mirror."""
    answer, tags = ask(name, f"/v2/{repo}/tags/list", params={"n": "3"}), []
    while True:
        assert answer.status_code == 200, answer.text
        tags += answer.json()["tags"]
        if "next" not in answer.links or len(tags) > len(TAGS):
            return tags
        address = urljoin(answer.url, answer.links["next"]["url"])
        assert address.startswith(host.mirror.base_url)
        answer = host.mirror.request("GET", address)


def pull_all(ask: Ask, host: Host, repo: str) -> None:
    """An image, its tags and its referrers."""
    assert pull(ask, "plain", repo)["config"]["Labels"]["repository"] == repo
    assert all_tags(ask, host, "plain", repo) == TAGS
    digest = ask("plain", f"/v2/{repo}/manifests/1").headers["Docker-Content-Digest"]
    assert len(ask("plain", f"/v2/{repo}/referrers/{digest}").json()["manifests"]) == 1
    assert ask("plain", f"/v2/{repo}/manifests/{digest}").status_code == 200


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
@pytest.mark.parametrize("form", ["absolute", "host", "scheme", "relative", "query", "dots", "cased"])
def test_redirect(ask: Ask, personalities_host: Host, status: str, form: str) -> None:
    pull_all(ask, personalities_host, f"redirect_{status}_{form}/app")


@pytest.mark.parametrize("length", ["1", "2"])
def test_redirects_in_a_circle(ask: Ask, personalities: Personalities, length: str) -> None:
    """They end, and the cause is given."""
    before = len(personalities.log())
    for path in ("manifests/1", f"manifests/sha256:{'0' * 64}", f"blobs/sha256:{'0' * 64}", "tags/list"):
        answer = ask("plain", f"/v2/circle_{length}/app/{path}")
        assert answer.status_code == 503, path
        assert "redirects in a circle" in answer.text
        assert answer.headers["Retry-After"]
    assert len(personalities.log()) - before < 60


def test_redirect_without_a_location(ask: Ask) -> None:
    for path in ("manifests/1", f"blobs/sha256:{'0' * 64}", "tags/list"):
        answer = ask("plain", f"/v2/nowhere/app/{path}", allow_redirects=False)
        assert answer.status_code == 503, path
        assert "does not answer as a registry" in answer.text


@pytest.mark.parametrize("name", CHALLENGES)
def test_challenge(ask: Ask, personalities_host: Host, name: str) -> None:
    pull_all(ask, personalities_host, f"challenge_{name}/app")


def test_challenge_is_answered_for_every_scope(ask: Ask, personalities: Personalities) -> None:
    pull(ask, "plain", "challenge_scopes/each")
    assert any(
        "scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull" in path for _, _, path, _, _ in personalities.log()
    )


@pytest.mark.parametrize("name", ["access", "large", "moved"])
def test_token_service(ask: Ask, personalities_host: Host, name: str) -> None:
    """access_token instead of token and no expires_in; long ones; a redirect."""
    pull_all(ask, personalities_host, f"service_{name}/app")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("denied", 403, "DENIED"),
        ("unknown", 403, "DENIED"),
        ("elsewhere", 403, "DENIED"),
        ("limited", 429, "TOOMANYREQUESTS"),
        ("broken", 503, "UNAVAILABLE"),
        ("empty", 503, "UNAVAILABLE"),
    ],
)
def test_token_service_that_gives_none(ask: Ask, name: str, status: int, code: str) -> None:
    for path in ("manifests/1", f"manifests/sha256:{'0' * 64}", f"blobs/sha256:{'0' * 64}", "tags/list"):
        answer = ask("plain", f"/v2/service_{name}/app/{path}")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code), (path, answer.text)
        if status in (429, 503):
            assert answer.headers["Retry-After"] == ("60" if status == 429 else "10")


@pytest.mark.parametrize("name", ["short", "plain"])
def test_token_that_expires(ask: Ask, personalities: Personalities, name: str) -> None:
    """The upstream asks for another one, or only forbids (ECR)."""
    repo = "expired/app" if name == "plain" else "expires/app"
    pull(ask, name, repo)
    personalities.set(expire="now")
    assert ask(name, f"/v2/{repo}/manifests/v1").status_code == 200


@pytest.mark.parametrize("form", LINKS)
def test_link(ask: Ask, personalities_host: Host, form: str) -> None:
    assert all_tags(ask, personalities_host, "plain", f"links_{form}/app") == TAGS


@pytest.mark.parametrize("upstream", ["path", "lscr"])
@pytest.mark.parametrize("form", LINKS)
def test_link_for_a_client_that_names_the_upstream_by_ns(
    ask: Ask, personalities_host: Host, upstream: str, form: str
) -> None:
    assert all_tags(ask, personalities_host, upstream, f"links_{form}/app") == TAGS


def test_link_for_a_client_that_names_the_upstream_by_a_path_or_a_host(
    personalities_host: Host, personalities: Personalities
) -> None:
    mirror = personalities_host.mirror
    for start, headers in (("registries.test/", {}), ("", {"Host": "path.localhost"})):
        answer = mirror.request("GET", f"/v2/{start}links_several/app/tags/list", params={"n": "3"}, headers=headers)
        tags = answer.json()["tags"]
        while "next" in answer.links:
            answer = mirror.request("GET", urljoin(mirror.base_url, answer.links["next"]["url"]), headers=headers)
            tags += answer.json()["tags"]
        assert tags == TAGS


@pytest.mark.parametrize("kilobytes", [4, 16, 31])
def test_headers(ask: Ask, personalities_host: Host, kilobytes: int) -> None:
    pull_all(ask, personalities_host, f"team/header-{kilobytes}")


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "405", "501"])
def test_refused_head(ask: Ask, personalities_host: Host, status: str) -> None:
    repo = f"nohead_{status}/app"
    pull_all(ask, personalities_host, repo)
    layer = ask("plain", f"/v2/nohead_{status}/cold/manifests/1").json()["layers"][0]
    answer = ask("plain", f"/v2/nohead_{status}/cold/blobs/{layer['digest']}", method="HEAD")
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == layer["size"]


@pytest.mark.parametrize("kind", ["manifests", "blobs", "tags", "referrers"])
def test_rate_limit(ask: Ask, kind: str) -> None:
    repo = f"limited_{kind}/app"
    cold = {"manifests": "1", "tags": "list"}.get(kind, f"sha256:{'0' * 64}")
    answer = ask("plain", f"/v2/{repo}/{kind}/{cold}")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert answer.json()["errors"][0]["code"] == "TOOMANYREQUESTS"


def test_neither_login_nor_token_follows_a_redirect_to_another_host(ask: Ask, personalities: Personalities) -> None:
    """Not if that host asks for one, whether the registry or its token service redirects."""
    assert ask("ecr", "/v2/elsewhere/login/manifests/1").status_code == 403
    assert ask("gitlab", "/v2/elsewhere/token/manifests/1").status_code == 403
    assert ask("gitlab", "/v2/service_elsewhere/app/manifests/1").status_code == 403
    requested = {
        (path.split("?")[0], scheme) for name, _, path, _, scheme in personalities.log() if name == "elsewhere"
    }
    assert {
        ("/token", "-"),
        ("/v2/elsewhere/login/manifests/1", "-"),
        ("/v2/elsewhere/token/manifests/1", "-"),
    } <= requested
    assert {scheme for _path, scheme in requested} == {"-"}
