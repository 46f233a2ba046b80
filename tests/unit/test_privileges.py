"""The capabilities of a machine in a container are worked out from what the engine itself has."""

from types import SimpleNamespace
from unittest import mock

import pytest
from docker.errors import APIError

from registry_stack.docker import privileges
from registry_stack.docker.privileges import CAPABILITIES, NEVER, capabilities_to_drop

FULL = "CapBnd:\t000001ffffffffff\nLast: 40\n"


def test_the_list_is_in_the_kernels_order() -> None:
    assert len(CAPABILITIES) == 41
    assert [CAPABILITIES[bit] for bit in (0, 12, 21, 24, 40)] == [
        "CHOWN",
        "NET_ADMIN",
        "SYS_ADMIN",
        "SYS_RESOURCE",
        "CHECKPOINT_RESTORE",
    ]


def test_a_full_engine_gives_all_but_those_that_reach_outside() -> None:
    assert capabilities_to_drop(FULL) == NEVER


def test_what_the_engine_lacks_is_not_asked_for() -> None:
    assert capabilities_to_drop("CapBnd:\t000001fffeffffff\nLast: 40\n") == (*NEVER, "SYS_RESOURCE")


def test_capabilities_the_kernel_does_not_know_are_not_named() -> None:
    assert capabilities_to_drop("CapBnd:\t0000003fffffffff\nLast: 37\n") == NEVER


def test_no_answer_means_the_safe_minimum() -> None:
    assert capabilities_to_drop("") == NEVER


def test_what_the_engine_does_not_know_is_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker 20.10 on a newer kernel: the kernel has three capabilities that neither knows."""

    def create(_image: str, cap_drop: list[str]) -> SimpleNamespace:
        unknown = [name for name in cap_drop if name in ("PERFMON", "BPF", "CHECKPOINT_RESTORE")]
        if unknown:
            raise APIError("400", explanation=f'invalid CapDrop: unknown capability: "CAP_{unknown[0]}"')
        return SimpleNamespace(remove=lambda v: None)

    client = mock.Mock()
    client.containers.create = create
    monkeypatch.setattr(privileges, "_probe", lambda *_: "CapBnd:\t0000003ffeffffff\nLast: 40\n")
    assert privileges._to_drop(client, "image") == (*NEVER, "SYS_RESOURCE")
