"""The end of the stack that the tests before have used."""

from tests.stack.stack_under_test import StackUnderTest


def test_destroy_keeps_the_images_unless_purged(deployed: StackUnderTest) -> None:
    before = deployed.objects()
    assert before
    done = deployed.destroy()
    assert done.code == 0, done.err
    assert deployed.stack.get() is None
    assert deployed.objects() == before
