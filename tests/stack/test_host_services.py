"""The services of the stack's server, over SSH: the tests of a host under test, with the fixtures of this suite."""

from tests.host.test_services import *  # noqa: F403
