"""Waiting for a stack while the cloud fails now and then."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from heatclient.exc import HTTPForbidden, HTTPServiceUnavailable
from keystoneauth1.exceptions import ConnectFailure

from registry_stack.errors import RegistryStackError, StackFailedError
from registry_stack.product import TEMPLATE
from registry_stack.targets.cloud import stack
from registry_stack.targets.cloud.stack import Request, Stack


@dataclass
class Heat:
    """Answers in turn: a status, or a failure to reach it. The last one for ever."""

    answers: list[str | Exception]
    asked: int = 0
    stacks: Any = field(init=False)
    events: Any = field(init=False)
    resources: Any = field(init=False)

    def __post_init__(self) -> None:
        self.stacks = SimpleNamespace(get=self._get)
        self.events = self.resources = SimpleNamespace(list=lambda *_names, **_options: [])

    def _get(self, _name: str) -> Any:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(stack_status=answer, stack_status_reason="a reason")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "POLL_S", 0.01)


def test_wait_retries_after_a_connection_failure() -> None:
    heat, said = Heat(["CREATE_IN_PROGRESS", ConnectFailure("reset by peer"), "CREATE_COMPLETE"]), list[str]()
    Stack(heat, "name").wait(10, said.append)
    assert heat.asked == 3
    assert said == ["retrying: reset by peer"]


def test_failure_is_the_hosts_own_reason() -> None:
    """Without what Heat puts before it."""
    heat = Heat(["UPDATE_FAILED"])
    failed = SimpleNamespace(
        resource_name="settings",
        resource_status="UPDATE_FAILED",
        resource_status_reason="Error: resources.settings: Deployment to server failed: error : os_password: refused",
        updated_time="",
    )
    heat.resources = SimpleNamespace(list=lambda *_names, **_options: [failed])
    assert Stack(heat, "name").failure() == "settings: os_password: refused"


def test_wait_retries_after_a_503() -> None:
    heat, said = (
        Heat(["CREATE_IN_PROGRESS", HTTPServiceUnavailable("no server"), "CREATE_COMPLETE"]),
        list[str](),
    )
    Stack(heat, "name").wait(10, said.append)
    assert heat.asked == 3
    assert said == ["retrying: no server"]


def test_wait_ends_at_a_refusal() -> None:
    heat = Heat(["CREATE_IN_PROGRESS", HTTPForbidden("not yours")])
    with pytest.raises(RegistryStackError, match="Heat refuses to show stack name: not yours"):
        Stack(heat, "name").wait(10, lambda _line: None)
    assert heat.asked == 2


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), ConnectFailure("gone"), HTTPForbidden("not yours")])
def test_failed_update_takes_back_the_replacement_mark(trouble: BaseException) -> None:
    marks: list[tuple[str, bool]] = []

    def update(*_names: Any, **_fields: Any) -> None:
        raise trouble

    heat = Heat(["CREATE_COMPLETE"])
    heat.stacks.update = update
    heat.resources.mark_unhealthy = lambda _stack, resource, bad, _why: marks.append((resource, bad))
    request = Request.read("name", TEMPLATE, [], {})
    with pytest.raises((KeyboardInterrupt, ConnectFailure, RegistryStackError)):
        Stack(heat, "name").update(request, 10, lambda _line: None, replaced="handle")
    assert marks == [("handle", True), ("handle", False)]


def test_wait_has_a_deadline() -> None:
    with pytest.raises(RegistryStackError, match="stack name is still CREATE_IN_PROGRESS after 0.1 s"):
        Stack(Heat(["CREATE_IN_PROGRESS", ConnectFailure("gone")]), "name").wait(0.1, lambda _line: None)


def test_wait_raises_the_reason_of_a_failed_stack() -> None:
    with pytest.raises(StackFailedError, match="CREATE_FAILED: a reason"):
        Stack(Heat(["CREATE_FAILED"]), "name").wait(10, lambda _line: None)


def test_tag_identifies_the_original_request() -> None:
    """Also when the update sends another value of a parameter."""
    first = Request.read("name", TEMPLATE, [], {"hostname": "one", "ready_timeout_seconds": 900})
    again = Request.read("name", TEMPLATE, [], {"hostname": "one", "ready_timeout_seconds": 900})
    sent = first.with_parameter("ready_timeout_seconds", 600).fields()
    assert sent["environment"]["parameters"] == {"hostname": "one", "ready_timeout_seconds": 600}
    assert sent["tags"] == again.tag
    for other in (
        Request.read("name", TEMPLATE, [], {"hostname": "two", "ready_timeout_seconds": 900}),
        Request.read("other", TEMPLATE, [], {"hostname": "one", "ready_timeout_seconds": 900}),
    ):
        assert other.tag != first.tag


def test_failure_of_a_member_is_named_once() -> None:
    """The groups around it fail with the same words."""
    own = "Deployment to server failed: error : os_password: refused"
    failed = [
        SimpleNamespace(
            resource_name=name, resource_status="UPDATE_FAILED", resource_status_reason=reason, updated_time=at
        )
        for at, (name, reason) in enumerate(
            [
                ("settings", f"Error: resources.settings: {own}"),
                ("1", f"Error: resources[1].resources.settings: {own}"),
                ("members", f"Error: resources.members.resources[1].resources.settings: {own}"),
            ]
        )
    ]
    heat = Heat(["UPDATE_FAILED"])
    heat.resources = SimpleNamespace(list=lambda *_names, **_options: failed)
    assert Stack(heat, "name").failure() == "settings: os_password: refused"
