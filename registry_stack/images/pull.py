"""Pulling, but never at the price of a long wait where no registry can be reached."""

import threading
from collections.abc import Callable
from enum import Enum

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from registry_stack.images.reference import registry_host
from registry_stack.progress import ProgressCallback

# The engine's own patience with a silent network is minutes; a registry that is there answers sooner.
ASK_DEADLINE_S = 4.0
_REFUSALS = (401, 403, 404)
_unreachable: dict[str, str] = {}


class Outcome(Enum):
    """What became of the attempt to pull."""

    PULLED = "pulled"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


def present(client: docker.DockerClient, reference: str) -> bool:
    """Is this image in the engine's store?"""
    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True


def pull(client: docker.DockerClient, reference: str, report: ProgressCallback) -> tuple[Outcome, str]:
    """Pull an image, after asking its registry with a short deadline; return what happened and why.

    A registry that could not be reached is not asked a second time by this process.
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
    """Have the engine ask the registry for the manifest; give up on the answer after the deadline."""
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
    """Do it, and sort the failure: a registry that says no, or one that cannot be asked."""
    try:
        action()
    except APIError as error:
        reason = str(error.explanation or error)
        refused = error.status_code in _REFUSALS
        return (Outcome.REFUSED if refused else Outcome.UNREACHABLE), reason
    except (DockerException, OSError) as error:
        return Outcome.UNREACHABLE, str(error)
    return Outcome.PULLED, ""
