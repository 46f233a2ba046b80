"""/opt/registry/follow-stack against a stack that is not there: what it applies, and what it tells Heat."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_stack.userdata.build import TREE
from tests.support.deadlines import wait_until
from tests.support.fake_stack import PASSWORDS, FakeStack, fake_stack

SCRIPT = TREE / "files/opt/registry/follow-stack"
COMMANDS = (
    *("awk", "base64", "bash", "cat", "chmod", "cmp", "cp", "curl", "grep", "install", "mkdir", "mktemp", "mv", "rm"),
    *("sed", "tail", "touch", "xargs"),
)
# Where the script finds things on a host.
FOLDERS = ("/etc/docker-registry", "/opt/registry", "/run", "/home/root/registry_certs")
HOSTILE = "A='it'\"'\"'s \"é\" \\ 😀 $HOME'\nB='x'\n"
UNPACK = """#!/bin/bash
# {version}
{command}
"""
# Fails as registry-ready does when the settings say so.
SYSTEMCTL = """#!/bin/bash
echo "$*" >> ROOT/systemctl.log
# As lib/settings.sh does.
cp ROOT/etc/docker-registry/environment{.user-data,} || :
[[ $* != "start registry-ready" ]] || ! grep -q broken ROOT/etc/docker-registry/environment || {
  echo '{"status":"FAILURE","reason":"the \\"edge\\" does not start"}' > ROOT/run/registry/ready.json
  exit 1
}
"""
APPLY = """#!/bin/bash
cp "$1" ROOT/given
while [[ -e ROOT/hold ]]; do /bin/sleep 0.05; done
! grep refused "$1" || { echo "warning: hm" >&2; echo "error: A: 'refused' is no good" >&2; exit 1; }
cp "$1" ROOT/etc/docker-registry/environment
"""


class FollowingHost:
    """A folder that stands for a host, and the script that runs on it."""

    def __init__(self, root: Path, stack: FakeStack, parser: str) -> None:
        self.root, self.stack = root, stack
        for folder in (*FOLDERS, "/run/registry", "/bin"):
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        # Nothing else is there, so that it takes that parser.
        for command in (*COMMANDS, parser):
            program = sys.executable if command == "python3" else shutil.which(command)
            self._program(f"bin/{command}", f'#!/bin/sh\nexec {program} "$@"\n')
        text = SCRIPT.read_text()
        for folder in FOLDERS:
            text = text.replace(f"{folder}", f"{root}{folder}")
        self._program("opt/registry/follow-stack", text)
        self._program("opt/registry/install-prerequisites", "#!/bin/bash\n")
        self._program("opt/registry/registry-apply", APPLY)
        self._program("bin/systemctl", SYSTEMCTL)
        self._program("bin/sleep", "#!/bin/bash\n/bin/sleep 0.05\n")
        (root / "home/root/registry_certs/ca.crt").write_text("CA\n")
        (root / "etc/docker-registry/stack").write_text(
            f"STACK_URL='{stack.url}/v1/project/stacks/name/id/resources/ready_handle/signal'\n"
            f"KEYSTONE_URL='{stack.url}/v3'\nSTACK_USER_ID='host-user'\nSTACK_PASSWORD='{PASSWORDS['host-user']}'\n"
            "STACK_PROJECT_ID='project'\nSTACK_CA_CERTIFICATES='Cg=='\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def _program(self, path: str, text: str) -> None:
        (self.root / path).write_text(text.replace("ROOT", str(self.root)))
        (self.root / path).chmod(0o755)

    def start(self) -> None:
        """As at a boot."""
        environment = {"PATH": str(self.root / "bin"), "HOME": "/", "LC_ALL": "C"}
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.root / "opt/registry/follow-stack"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """As by a power failure."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    @property
    def environment(self) -> str:
        return self.read("etc/docker-registry/environment")

    def wait_for_signal(self, number: int) -> dict[str, str]:
        """What the host has told Heat for the `number`th time."""
        wait_until(
            lambda: None if len(self.stack.signals) >= number else f"{len(self.stack.signals)} signals",
            30,
            f"signal {number}",
            log=lambda: self.read("log"),
        )
        assert len(self.stack.signals) == number
        return self.stack.signals[-1]

    def wait_for_polls(self, number: int = 3) -> None:
        before = self.stack.polls
        wait_until(
            lambda: None if self.stack.polls > before + number else "none", 30, "polls", log=lambda: self.read("log")
        )


def files(version: str, command: str = "true") -> str:
    return UNPACK.format(version=version, command=command)


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FollowingHost]:
    """Following, and nothing to follow yet."""
    parser = getattr(request, "param", "python3")
    if shutil.which(parser) is None:
        pytest.skip(f"no {parser} here")
    with fake_stack() as stack:
        host = FollowingHost(tmp_path, stack, parser)
        host.start()
        try:
            yield host
        finally:
            host.stop()


@pytest.fixture
def working(host: FollowingHost) -> FollowingHost:
    host.stack.deploy(files("one"), "A='1'\n")
    assert host.wait_for_signal(1) == {"ca_certificate": "CA"}
    report = host.root / "etc/docker-registry/deployment.report"
    wait_until(lambda: "there" if report.exists() else None, 30, "the report to be gone")
    return host


@pytest.mark.parametrize("host", ["python3", "jq"], indirect=True)
def test_first_deployment_makes_the_host(host: FollowingHost) -> None:
    host.stack.deploy(files("one", f"touch {host.root}/unpacked"), HOSTILE)
    assert host.wait_for_signal(1) == {"ca_certificate": "CA"}
    assert (host.root / "unpacked").exists()
    assert host.environment == HOSTILE
    assert (host.root / "etc/docker-registry/environment.user-data").stat().st_mode & 0o777 == 0o600
    assert host.read("systemctl.log").splitlines()[-3:] == [
        "enable docker-registry-host.target",
        "start --no-block docker-registry-host.target",
        "start registry-ready",
    ]


def test_first_failure_is_told_and_the_next_deployment_is_a_first_one(host: FollowingHost) -> None:
    host.stack.deploy(files("one"), "A='broken'\n")
    assert host.wait_for_signal(1)["error"] == 'the "edge" does not start'
    host.stack.deploy(files("one"), "A='1'\n")
    assert "error" not in host.wait_for_signal(2)
    assert not (host.root / "given").exists()


def test_changed_settings_are_applied(working: FollowingHost) -> None:
    before = working.read("systemctl.log")
    working.stack.deploy(files("one"), HOSTILE)
    assert working.wait_for_signal(2) == {"ca_certificate": "CA"}
    assert working.read("given") == HOSTILE
    assert working.read("systemctl.log") == before


def test_reason_of_a_refusal_is_told_in_one_line(working: FollowingHost) -> None:
    working.stack.deploy(files("one"), "A='refused'\n")
    assert working.wait_for_signal(2)["error"] == "A: 'refused' is no good"
    assert working.environment == "A='1'\n"
    # One that failed stays in the list until the next is complete.
    working.stack.deploy(files("one"), "A='2'\n")
    assert "error" not in working.wait_for_signal(3)
    assert working.environment == "A='2'\n"


def test_another_version_replaces_the_files(working: FollowingHost) -> None:
    working.stack.deploy(files("two", f"touch {working.root}/unpacked"), "A='2'\n")
    assert working.wait_for_signal(2) == {"ca_certificate": "CA"}
    assert (working.root / "unpacked").exists()
    assert working.environment == "A='2'\n"
    assert working.read("systemctl.log").splitlines()[-1] == "start registry-ready"


@pytest.mark.parametrize(("command", "environment"), [("false", "A='2'\n"), ("true", "A='broken'\n")])
def test_version_that_fails_gives_way_to_the_one_before(working: FollowingHost, command: str, environment: str) -> None:
    working.stack.deploy(files("two", f"set -e; echo 'error: no room'; {command}"), environment)
    assert working.wait_for_signal(2)["error"] == ("no room" if command == "false" else 'the "edge" does not start')
    assert working.read("opt/registry/unpack-files") == files("one")
    assert working.environment == "A='1'\n"
    assert working.read("systemctl.log").splitlines()[-1] == "start registry-ready"


def test_only_the_newest_deployment_is_answered(working: FollowingHost) -> None:
    (working.root / "hold").touch()
    working.stack.deploy(files("one"), "A='2'\n")
    wait_until(lambda: None if (working.root / "given").exists() else "not yet", 30, "the first to be applied")
    working.stack.deploy(files("one"), "A='refused'\n")
    (working.root / "hold").unlink()
    assert working.wait_for_signal(2)["error"] == "A: 'refused' is no good"
    assert working.environment == "A='2'\n"


def test_restart_applies_nothing_again(working: FollowingHost) -> None:
    working.stop()
    (working.root / "etc/docker-registry/environment").write_text("A='by hand'\n")
    working.start()
    working.wait_for_polls()
    assert len(working.stack.signals) == 1
    assert working.environment == "A='by hand'\n"


def test_host_goes_on_while_heat_is_away(working: FollowingHost) -> None:
    working.stack.away = True
    working.stack.deploy(files("one"), "A='2'\n")
    wait_until(lambda: None if "503" in working.read("log") else "not yet", 30, "Heat to be missed")
    assert working.environment == "A='1'\n"
    # It has forgotten the token, too.
    working.stack.tokens.clear()
    working.stack.away = False
    assert "error" not in working.wait_for_signal(2)
    assert working.environment == "A='2'\n"


def test_signal_that_does_not_arrive_is_repeated(working: FollowingHost) -> None:
    (working.root / "hold").touch()
    working.stack.deploy(files("one"), "A='2'\n")
    wait_until(lambda: None if (working.root / "given").exists() else "not yet", 30, "the settings to be applied")
    working.stack.away = True
    (working.root / "hold").unlink()
    wait_until(lambda: None if working.read("log").count("503") > 2 else "not yet", 30, "Heat to be missed")
    working.stop()
    working.stack.away = False
    working.start()
    assert working.wait_for_signal(2) == {"ca_certificate": "CA"}


def test_no_secret_is_logged(working: FollowingHost) -> None:
    assert [secret for secret in PASSWORDS.values() if secret in working.read("log")] == []
