"""The capabilities of a machine in a container are worked out from what the engine itself has."""

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
