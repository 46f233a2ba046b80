"""A wait ends when the probe succeeds, at the deadline with the last state, or at once at a RegistryStackError."""

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.polling import wait_until


def test_returns_when_the_probe_succeeds() -> None:
    answers = iter(["not yet", "nearly", None])
    assert wait_until(lambda: next(answers), 5, "it", poll_s=0) < 5


def test_exception_in_the_probe_is_a_state() -> None:
    answers = iter([OSError("refused"), None])

    def probe() -> str | None:
        answer = next(answers)
        if answer:
            raise answer
        return None

    wait_until(probe, 5, "it", poll_s=0)


def test_deadline_error_has_state_hint_and_log() -> None:
    with pytest.raises(RegistryStackError) as caught:
        wait_until(lambda: "503", 0, "the mirror", log=lambda: "one\ntwo\n", hint="look there", poll_s=0)
    assert str(caught.value) == "waited 0 s for the mirror: last seen: 503; look there\n    one\n    two"


def test_registry_stack_error_ends_the_wait() -> None:
    def probe() -> str | None:
        raise RegistryStackError("it is dead")

    with pytest.raises(RegistryStackError, match=r"^it is dead$"):
        wait_until(probe, 60, "it")
