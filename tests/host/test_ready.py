"""registry-ready: what it tries before it says that the host works, and what Heat is told."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from tests.host.journal import journal
from tests.host.targets import CHECK_REPO, CHECK_TAG, Target
from tests.host.waiting import wait_for_file

ENVIRONMENT = "/etc/docker-registry/environment"
FOLDER = "/run/heat-stand-in"
TOKEN = "gAAAA\"'\\token"
# Takes every signal, one a line; Heat's own is a request like it (heat/api/openstack/v1/stacks.py, signal).
HEAT = """
import http.server, json, pathlib
folder = pathlib.Path("/run/heat-stand-in")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen = {"path": self.path, "token": self.headers["X-Auth-Token"], "type": self.headers["Content-Type"]}
        with (folder / "signals").open("a") as file:
            print(json.dumps(seen | body), file=file)
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
(folder / "port").write_text(str(server.server_port))
server.serve_forever()
"""


@pytest.fixture(scope="module", autouse=True)
def impatient(target: Target, host: Host) -> Iterator[None]:
    """registry-ready waits for the upstream for some seconds, not for as long as a cloud may take to route."""
    folder = "/run/systemd/system/registry-ready.service.d"
    host.check_output(f"mkdir -p {folder}")
    target.write(f"{folder}/test.conf", b"[Service]\nEnvironment=UPSTREAM_PATIENCE=3\n")
    host.check_output("systemctl daemon-reload")
    yield
    host.check_output(f"rm -r {folder} && systemctl daemon-reload")


@pytest.fixture
def heat(target: Target, host: Host) -> Iterator[None]:
    """Signals go to a server on the host for a while; afterwards the host is what it was."""
    before = host.check_output(f"cat {ENVIRONMENT}")
    host.check_output(f"mkdir {FOLDER}")
    host.check_output("systemd-run --quiet --unit heat-stand-in python3 -c %s", HEAT)
    try:
        wait_for_file(host, f"{FOLDER}/port", 20)
        url = f"http://127.0.0.1:{host.check_output(f'cat {FOLDER}/port')}/signal?a=b&c=%2F"
        change(target, before, SIGNAL_URL=url, SIGNAL_TOKEN=TOKEN)
        yield
    finally:
        change(target, before)
        host.check_output(f"systemctl stop heat-stand-in && rm -r {FOLDER}")
        assert prove(host)


def prove(host: Host) -> bool:
    """Have the host find out once more; says whether it works. systemd would count how often."""
    return bool(host.run("systemctl reset-failed registry-ready; systemctl restart registry-ready").succeeded)


def change(target: Target, environment: str, **values: str) -> None:
    """Write the environment file, with other values for some names."""
    lines = [line for line in environment.splitlines() if line.split("=")[0] not in values]
    lines += [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    target.write(ENVIRONMENT, "\n".join([*lines, ""]).encode())


def signals(host: Host) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.check_output(f"cat {FOLDER}/signals").splitlines()]


def test_readiness_check_pushes_and_pulls(host: Host) -> None:
    """On the word of the edge."""
    since = journal(host)
    assert prove(host)
    edge = "docker-registry-edge"
    assert since.until(edge, f"/v2/{CHECK_REPO}/manifests/{CHECK_TAG} 200", starting="mirror ")
    # Each request is in the log once it has been answered, but not always after those before it.
    assert since.until(edge, "/v2/registry-ready/probe/manifests/latest 200 ", starting="registry ")
    assert len(since.until(edge, "/v2/registry-ready/probe/manifests/latest 201 ", starting="registry ")) == 1
    uploads = since.until(edge, " PUT /v2/registry-ready/probe/blobs/uploads/", starting="registry ")
    assert all(" 201 " in line for line in uploads)


@pytest.mark.usefixtures("heat")
def test_success_is_signalled_with_the_ca(host: Host) -> None:
    assert prove(host)
    (signal,) = signals(host)
    assert signal == {
        "path": "/signal?a=b&c=%2F",
        "token": TOKEN,
        "type": "application/json",
        "status": "SUCCESS",
        "reason": "push and pull work",
        "id": "ca",
        "data": host.check_output("cat /home/root/registry_certs/ca.crt"),
    }


@pytest.mark.usefixtures("heat")
@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        ("REGISTRY_PASSWORD", 'wr"o\\ng', "login to :5000 failed: "),
        (
            "UPSTREAM_CHECK_IMAGE",
            f"{CHECK_REPO}:missing",
            f"the mirror cannot pull {CHECK_REPO}:missing from UPSTREAM: ",
        ),
    ],
)
def test_failure_is_signalled_with_its_reason(
    target: Target, host: Host, parameter: str, value: str, reason: str
) -> None:
    change(target, host.check_output(f"cat {ENVIRONMENT}"), **{parameter: value})
    assert not prove(host)
    (signal,) = signals(host)
    assert (signal["status"], signal["data"]) == ("FAILURE", "")
    assert signal["reason"].startswith(reason.replace("UPSTREAM", target.upstream.url))
    assert value not in signal["reason"] or parameter == "UPSTREAM_CHECK_IMAGE"
    verdict = json.loads(host.check_output("cat /run/registry/ready.json"))
    assert verdict == {"status": "FAILURE", "reason": signal["reason"]}
