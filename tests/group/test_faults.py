"""What clients of a group see while something is wrong with a member, and while all change, one after the other."""

from collections.abc import Iterator

import pytest

from loadtests.benchmark.group_benchmarks import during_fault, during_growth, recipes
from loadtests.benchmark.group_faults import BAD_CERTIFICATE, FAULTS
from loadtests.benchmark.group_testbed import GroupTestbed, start_group
from loadtests.benchmark.profiles import GROUP
from registry_stack.progress import no_progress
from tests.support.deadlines import scaled

# Some faults deploy all members twice: a change, and the way back.
pytestmark = [pytest.mark.long, pytest.mark.timeout(scaled(1200), func_only=True)]


@pytest.fixture(scope="module")
def testbed() -> Iterator[GroupTestbed]:
    """Two members of their own, with clients that pull and push all the time."""
    with start_group(2, recipes(GROUP, (2, 3)), no_progress) as made:
        yield made


@pytest.mark.parametrize("fault", FAULTS)
def test_no_pull_fails_and_no_push_is_lost(testbed: GroupTestbed, fault: str) -> None:
    """What is cached and what is not; a push that fails succeeds when the client tries again."""
    seen = during_fault(GROUP, testbed, fault)
    assert seen["pulls"] > 0
    assert seen["pushes"] > 0
    assert (seen["failed"], seen["wrong"], seen["lost"]) == (0, 0, 0), seen["reasons"]
    # A client takes the first address that connects, and does not ask another one when it does not trust what is there.
    assert seen["pushes_failed_twice"] == 0 or fault == BAD_CERTIFICATE, seen["reasons"]


def test_group_grows_and_shrinks(testbed: GroupTestbed) -> None:
    for hosts in (3, 2):
        seen = during_growth(GROUP, testbed, hosts)
        assert seen["pulls"] > 0
        assert (seen["failed"], seen["wrong"], seen["lost"]) == (0, 0, 0), seen["reasons"]
        assert seen["pushes_failed_twice"] == 0, seen["reasons"]
