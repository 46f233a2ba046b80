"""Pulls images, and finds out within seconds when a registry cannot be reached."""

import threading
from collections.abc import Callable
from enum import Enum

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from registry_stack.images.reference import registry_host
from registry_stack.progress import ProgressCallback

# The engine itself waits minutes for a network that does not answer; a reachable registry answers sooner.
ASK_DEADLINE_S = 4.0
_REFUSALS = (401, 403, 404)
_unreachable: dict[str, str] = {}


class Outcome(Enum):
    """The result of an attempt to pull."""

    PULLED = "pulled"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


def present(client: docker.DockerClient, reference: str) -> bool:
    """Whether the image is in the engine's store."""
    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True


def pull(client: docker.DockerClient, reference: str, report: ProgressCallback) -> tuple[Outcome, str]:
    """Pull an image, after a request to its registry with a short deadline; return the outcome and its reason.

    A process does not ask an unreachable registry a second time.
    """
    host = registry_host(reference)
    if host in _unreachable:
        return Outcome.UNREACHABLE, _unreachable[host]
    report(f"asking {host} for {reference}")
    outcome, reason = _ask(client, reference)
    if outcome is Outcome.PULLED:
        report(f"pulling {reference}")
        outcome, reason = _attempt(lambda: client.images.pull(reference))
    if outcome is Outcome.UNREACHABLE:
        _unreachable[host] = reason
    return outcome, reason


def _ask(client: docker.DockerClient, reference: str) -> tuple[Outcome, str]:
    """Let the engine request the manifest; give up after the deadline."""
    answers: list[tuple[Outcome, str]] = []

    def ask() -> None:
        answers.append(_attempt(lambda: client.images.get_registry_data(reference)))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ASK_DEADLINE_S)
    if answers:
        return answers[0]
    return Outcome.UNREACHABLE, f"{registry_host(reference)} did not answer within {ASK_DEADLINE_S:g} s"


def _attempt(action: Callable[[], object]) -> tuple[Outcome, str]:
    """Do it, and tell a registry that refuses from one that cannot be reached."""
    try:
        action()
    except APIError as error:
        reason = str(error.explanation or error)
        refused = error.status_code in _REFUSALS
        return (Outcome.REFUSED if refused else Outcome.UNREACHABLE), reason
    except (DockerException, OSError) as error:
        return Outcome.UNREACHABLE, str(error)
    return Outcome.PULLED, ""
