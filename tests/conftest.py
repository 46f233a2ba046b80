"""What all suites share: the options that choose a host under test, and deadlines that fit this machine."""

from typing import Any

import pytest

from tests.support import deadlines

# Files of tests/integration that need a Swift, which takes a while to start.
_WITH_SWIFT = ("test_push.py", "test_garbage.py", "test_swift.py", "test_s3_preflight.py")
# Those that share one host with a proxy for each registry.
_WITH_PERSONALITIES = ("test_personalities.py", "test_intermediary.py", "test_upstream_errors.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Here rather than in tests/host: `--target lab` alone must not be taken for the path of a test."""
    group = parser.getgroup("host", "the host under test")
    group.addoption("--target", default="local", choices=["local", "lab", "cloud"], help="where the host runs")
    group.addoption("--keep", default="", metavar="NAME", help="work on deployment NAME, made if need be, and leave it")
    cloud = parser.getgroup("cloud", "--target cloud: the OpenStack in --os-cloud or OS_*")
    cloud.addoption("--os-cloud", metavar="NAME", help="cloud of clouds.yaml")
    cloud.addoption("--environment", action="append", default=[], metavar="FILE", help="parameters that fit this cloud")
    cloud.addoption("--ssh-key", metavar="FILE", help="private half of the key pair in server_key")
    cloud.addoption("--ssh-user", default="debian", metavar="NAME", help="who may log in with it (%(default)s)")
    cloud.addoption("--here", metavar="ADDRESS", help="address of this machine that servers of the cloud reach")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Each worker of pytest-xdist boots a host; a server, or a kept host, exists only once."""
    if config.getoption("--keep") or config.getoption("--target") != "local":
        config.option.numprocesses = 0


def pytest_configure() -> None:
    """Measure before pytest-xdist starts its workers, which inherit the result."""
    deadlines.factor()


def pytest_report_header() -> str:
    return f"deadlines: {deadlines.factor():g} times those of the reference machine"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """As `--dist loadfile`: the tests of a file share their hosts, and some files share one as well."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = str(super()._split_scope(nodeid))
            name = path.rpartition("/")[2]
            return "swift" if name in _WITH_SWIFT else "personalities" if name in _WITH_PERSONALITIES else path

    return Scheduling(config, log)
