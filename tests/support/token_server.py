"""Runs in a container (see tokens.py): GET /token with Basic credentials gives a token for what is asked."""

import base64
import json
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

FOLDER = Path(sys.argv[1])
SETTINGS: dict[str, Any] = json.loads((FOLDER / "settings.json").read_text())
KEY = (FOLDER / "key.pem").read_text()
CHAIN = ["".join((FOLDER / "crt.pem").read_text().splitlines()[1:-1])]
LOGIN = base64.b64encode(f"{SETTINGS['username']}:{SETTINGS['password']}".encode()).decode()


def access(scope: str) -> dict[str, Any]:
    """`repository:library/sample:pull,push` as a claim."""
    kind, name, actions = scope.split(":", 2)
    return {"type": kind, "name": name, "actions": [one for one in actions.split(",") if one == "pull"]}


def token(service: str, scopes: list[str]) -> str:
    """A token for one service, valid for five minutes."""
    now = int(time.time())
    claims = {
        "iss": SETTINGS["issuer"],
        "sub": SETTINGS["username"],
        "aud": service,
        "jti": str(uuid.uuid4()),
        "nbf": now - 10,
        "iat": now,
        "exp": now + 300,
        "access": [access(scope) for scope in scopes],
    }
    return str(jwt.encode(claims, KEY, algorithm="RS256", headers={"x5c": CHAIN}))


class Handler(BaseHTTPRequestHandler):
    """GET /token."""

    def do_GET(self) -> None:
        """Answer with a token, or 401 without the right login."""
        query = parse_qs(urlsplit(self.path).query)
        scopes = " ".join(query.get("scope", [])).split()
        allowed = self.headers.get("Authorization") == f"Basic {LOGIN}"
        refused = "refused" if self.headers.get("Authorization") else "anonymous"
        print("token" if allowed else refused, *scopes, flush=True)
        answer: dict[str, Any] = {"token": token(query["service"][0], scopes)} if allowed else {"errors": []}
        body = json.dumps(answer).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print("listening", flush=True)
ThreadingHTTPServer(("", SETTINGS["port"]), Handler).serve_forever()
