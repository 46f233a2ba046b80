"""The mirror of the stack: the tests of a host under test, with the fixtures of this suite."""

from tests.host.test_mirror import *  # noqa: F403
