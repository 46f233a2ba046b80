"""Questions to a mirror of registries with habits: see tests/support/personalities.py."""

import json
from collections.abc import Callable
from typing import Any

import requests

from loadtests.support.registry.media_types import ACCEPT
from tests.integration.client import digest
from tests.integration.host import Host
from tests.support.deadlines import wait_until
from tests.support.personalities import NAME, port_of

# How long the mirror of these registries takes a tag for fresh.
TTL_S = 2
# Asks the mirror for a path of a registry, which ns= selects.
Ask = Callable[..., requests.Response]


def asking(host: Host) -> Ask:
    """`ask(registry, path)`."""
    mirror = host.mirror

    def ask(name: str, path: str, method: str = "GET", **arguments: Any) -> requests.Response:
        headers = {"Accept": ACCEPT, **arguments.pop("headers", {})}
        params = {"ns": f"{NAME}:{port_of(name)}", **arguments.pop("params", {})}
        return mirror.request(method, path, headers=headers, params=params, **arguments)

    return ask


def pull(ask: Ask, name: str, repo: str) -> dict[str, Any]:
    """Pull an image, verify each digest and return its configuration."""
    answer = ask(name, f"/v2/{repo}/manifests/1")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Docker-Content-Digest"] == digest(answer.content)
    contents = {}
    for part in (answer.json()["config"], *answer.json()["layers"]):
        blob = ask(name, f"/v2/{repo}/blobs/{part['digest']}")
        assert blob.status_code == 200, blob.text
        assert digest(blob.content) == part["digest"]
        contents[part["mediaType"]] = blob.content
    document: dict[str, Any] = json.loads(contents[answer.json()["config"]["mediaType"]])
    return document


def wait_until_stale(ask: Ask, name: str, path: str) -> requests.Response:
    """Ask until the answer is stale; each one has to be the cached one."""
    answers: list[requests.Response] = []

    def stale() -> str | None:
        answers.append(ask(name, path))
        assert answers[-1].status_code == 200, answers[-1].text
        return None if answers[-1].headers["X-Cache"] == "STALE" else answers[-1].headers["X-Cache"]

    wait_until(stale, 20 + 10 * TTL_S, f"{path} to be stale")
    return answers[-1]


def wait_until_unknown(ask: Ask, name: str, path: str) -> None:
    """Ask until the mirror has learned that the upstream does not have it any more."""

    def unknown() -> str | None:
        answer = ask(name, path)
        assert answer.status_code in (200, 404), answer.text
        return None if answer.status_code == 404 else f"HTTP {answer.status_code}"

    wait_until(unknown, 20 + 10 * TTL_S, f"{path} to be unknown")
