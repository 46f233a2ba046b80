"""Keystone and Heat as a host sees them: a login, the metadata of its resource, and the signal."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PASSWORDS = {"host-user": "h0st!@#%^&*", "settings-user": "s3t!@#%^&*"}
_STACK = "/v1/project/stacks/name/id/resources/"


@dataclass
class FakeStack:
    """A stack with the deployments that a test gives it; `signals` are what the host has said."""

    url: str = ""
    deployments: list[dict[str, Any]] = field(default_factory=list)
    signals: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    away: bool = False
    polls: int = 0
    _made: int = 0

    def deploy(self, files: str, environment: str) -> None:
        """A newer deployment, listed before those that there are: Heat sorts by name."""
        self._made += 1
        inputs = {
            "environment": environment,
            "server_id": "server",
            "deploy_user_id": "settings-user",
            "deploy_password": PASSWORDS["settings-user"],
            "deploy_project_id": "project",
            "deploy_resource_name": "settings",
            "deploy_nothing": None,
        }
        deployment = {
            "id": f"deployment-{self._made}",
            "name": "files",
            "creation_time": f"2026-01-01T00:00:{self._made:02}Z",
            "config": files,
            "inputs": [{"name": name, "type": "String", "value": value} for name, value in inputs.items()],
        }
        self.deployments.insert(0, deployment)

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON."""
        if self.away:
            return 503, {}, {}
        if (method, path) == ("POST", "/v3/auth/tokens"):
            user = body["auth"]["identity"]["password"]["user"]
            if PASSWORDS.get(user["id"]) != user["password"] or body["auth"]["scope"] != {"project": {"id": "project"}}:
                return 401, {}, {}
            self.tokens.add(token := f"{user['id']}-{len(self.tokens)}")
            return 201, {"X-Subject-Token": token}, {}
        if token not in self.tokens:
            return 401, {}, {}
        if (method, path) == ("GET", f"{_STACK}host/metadata") and token.startswith("host-user"):
            self.polls += 1
            return 200, {}, {"metadata": {"deployments": self.deployments, "os-collect-config": {}}}
        if (method, path) == ("POST", f"{_STACK}settings/signal") and token.startswith("settings-user"):
            self.signals.append(body)
            return 200, {}, None
        return 403, {}, {}


@contextmanager
def fake_stack(address: str = "127.0.0.1") -> Iterator[FakeStack]:
    """One that answers at this address until the end of the block."""
    stack = FakeStack()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(text) if text else None
            token = self.headers.get("X-Auth-Token", "")
            status, headers, answer = stack.answer(self.command, self.path, token, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _handle  # noqa: N815 (as BaseHTTPRequestHandler calls them)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer((address, 0), Handler)
    stack.url = f"http://{address}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stack
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
