"""What an upstream's error means to a client: the table in docs/architecture.md, for all that a client asks for."""

from dataclasses import dataclass

import pytest
import requests

from tests.integration.registries import Ask, pull, wait_until_stale, wait_until_unknown
from tests.support.personalities import Personalities

NOTHING = f"sha256:{'0' * 64}"
# What is not in the cache.
COLD = {
    "tag": "manifests/v1",
    "digest": f"manifests/{NOTHING}",
    "blob": f"blobs/{NOTHING}",
    "tags": "tags/list",
    "referrers": f"referrers/{NOTHING}",
}
UNKNOWN = {"tag": "MANIFEST_UNKNOWN", "digest": "MANIFEST_UNKNOWN", "blob": "BLOB_UNKNOWN"}


@dataclass(frozen=True)
class Row:
    """A row of the table: who answers with this status, and what a client gets."""

    registry: str
    fails: str
    status: str
    expected: int
    code: str
    words: str
    retry_after: str | None = None


ROWS = {
    "unknown": Row("ghcr", "ghcr", "404", 404, "", "does not have this"),
    "gone": Row("ghcr", "ghcr", "410", 404, "", "does not have this"),
    "401": Row("ecr", "ecr", "401", 403, "DENIED", "refuses this mirror (HTTP 401)"),
    "403": Row("quay", "quay", "403", 403, "DENIED", "refuses this mirror (HTTP 403)"),
    "451": Row("quay", "quay", "451", 403, "DENIED", "refuses this mirror"),
    "tokens-401": Row("gitlab", "tokens", "401", 403, "DENIED", "refuses this mirror"),
    "tokens-403": Row("gitlab", "tokens", "403", 403, "DENIED", "refuses this mirror"),
    "429": Row("path", "path", "429", 429, "TOOMANYREQUESTS", "limits the request rate", "60"),
    "tokens-429": Row("gitlab", "tokens", "429", 429, "TOOMANYREQUESTS", "limits the request rate", "60"),
    "500": Row("gar", "gar", "500", 503, "UNAVAILABLE", "answers with HTTP 500", "10"),
    "503": Row("gar", "gar", "503", 503, "UNAVAILABLE", "answers with HTTP 503", "10"),
    "520": Row("gar", "gar", "520", 503, "UNAVAILABLE", "does not answer", "10"),
    "away": Row("nexus", "nexus", "away", 503, "UNAVAILABLE", "does not answer", "10"),
    "tokens-away": Row("gitlab", "tokens", "away", 503, "UNAVAILABLE", "", "10"),
}


def check(answer: requests.Response, row: Row, code: str) -> None:
    """The status, the code, the cause in words, and when to come again."""
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"]) == (row.expected, code), answer.text
    assert row.words in error["message"]
    assert answer.headers.get("Retry-After") == row.retry_after
    assert answer.headers.get("X-Cache", "") in ("", "MISS")


@pytest.mark.parametrize("what", COLD)
@pytest.mark.parametrize("row", ROWS)
def test_error_about_what_is_not_cached(ask: Ask, personalities: Personalities, row: str, what: str) -> None:
    one, path = ROWS[row], f"/v2/cold/{row}-{what}/{COLD[what]}"
    with personalities.outage(one.fails, status=one.status):
        personalities.set(expire="now")
        check(ask(one.registry, path), one, one.code or UNKNOWN.get(what, "NAME_UNKNOWN"))
        assert ask(one.registry, path, method="HEAD").status_code == one.expected
    personalities.set(expire="now")


@pytest.mark.parametrize("row", ROWS)
def test_error_about_what_is_cached(ask: Ask, personalities: Personalities, row: str) -> None:
    one, repo = ROWS[row], f"/v2/cached/{row}"
    pull(ask, one.registry, repo.removeprefix("/v2/"))
    digest = ask(one.registry, f"{repo}/manifests/1").headers["Docker-Content-Digest"]
    assert ask(one.registry, f"{repo}/tags/list").status_code == 200
    with personalities.outage(one.fails, status=one.status):
        personalities.set(expire="now")
        for path in (f"{repo}/manifests/1", f"{repo}/tags/list"):
            if one.expected == 404:
                wait_until_unknown(ask, one.registry, path)
            else:
                wait_until_stale(ask, one.registry, path)
        by_digest = ask(one.registry, f"{repo}/manifests/{digest}")
        assert by_digest.status_code == 200
    personalities.set(expire="now")
