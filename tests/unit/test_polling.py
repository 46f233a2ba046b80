"""A wait ends with the fact, with the deadline and all that is known, or at once when it is hopeless."""

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.polling import wait_until


def test_returns_when_the_probe_is_content() -> None:
    answers = iter(["not yet", "nearly", None])
    assert wait_until(lambda: next(answers), 5, "it", poll_s=0) < 5


def test_trouble_while_looking_is_a_status() -> None:
    answers = iter([OSError("refused"), None])

    def probe() -> str | None:
        answer = next(answers)
        if answer:
            raise answer
        return None

    wait_until(probe, 5, "it", poll_s=0)


def test_the_deadline_tells_all_that_is_known() -> None:
    with pytest.raises(RegistryStackError) as caught:
        wait_until(lambda: "503", 0, "the mirror", log=lambda: "one\ntwo\n", hint="look there", poll_s=0)
    assert str(caught.value) == "waited 0 s for the mirror: last seen: 503; look there\n    one\n    two"


def test_a_hopeless_wait_ends_at_once() -> None:
    def probe() -> str | None:
        raise RegistryStackError("it is dead")

    with pytest.raises(RegistryStackError, match=r"^it is dead$"):
        wait_until(probe, 60, "it")
