"""Upstreams with the habits of public registries, a port each. Runs in a container: see personalities.py.

    python3 -m tests.support.personality_server SETTINGS

SETTINGS is JSON: {"name": HOST, "personalities": {NAME: {"port": PORT, HABIT: VALUE, …}}}. GET /_log returns a list of
[PERSONALITY, METHOD, PATH, STATUS, AUTHORIZATION-SCHEME], one for each request.
"""

import base64
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from tests.support.personality_quirks import Quirks

SETTINGS: dict[str, Any] = json.loads(sys.argv[1] if __name__ == "__main__" else '{"personalities": {}}')
PERSONALITIES: dict[int, dict[str, Any]] = {
    habits["port"]: {"personality": name, **habits} for name, habits in SETTINGS["personalities"].items()
}
PORTS = {name: habits["port"] for name, habits in SETTINGS["personalities"].items()}
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
LOGIN = "Basic " + base64.b64encode(b"user:secret").decode()
TAGS = [f"v{number}" for number in range(8)]
# What an upstream may answer with instead of the right bytes.
LIES: dict[str, Callable[[bytes], bytes]] = {
    # Of a manifest, within the digest of its layer.
    "other": lambda body: body[:-61] + (b"1" if body[-61:-60] == b"0" else b"0") + body[-60:],
    "longer": lambda body: body + b"\n",
    "cut": lambda body: body[: len(body) // 2],
    "broken": lambda body: body[: len(body) // 2],
}
_PATH = re.compile(r"/v2/(?P<repo>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<ref>[^/]+)")

tokens: dict[str, float] = {}
log: list[list[str]] = []
# Changed by GET /_set?NAME=VALUE: "refusal", a status for whoever logs in; "half", what follows half of a blob
# whose repository has `half-` in its name: `wait`, `cut`, `go` for the other half, or `drip` for 12 s of it.
state: dict[str, str] = {}


def digest_of(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer_of(repo: str) -> bytes:
    """A tar with one file, another for each repository; `size-N` at the end of its name makes the file N bytes."""
    size = int(repo.rpartition("size-")[2]) if "size-" in repo else 100_000
    block = hashlib.sha256(repo.encode()).digest()
    content = (block * (size // len(block) + 1))[:size]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("content")
        member.size = size
        tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def manifest_of(repo: str, port: int) -> bytes:
    """Of an image, which names its upstream: no two upstreams have the same."""
    layer, config = layer_of(repo), config_of(repo, port)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": digest_of(layer), "size": len(layer)}],
    }
    return json.dumps(document).encode()


def index_of(repo: str, port: int) -> bytes:
    """Of the same image, for one platform."""
    manifest = manifest_of(repo, port)
    platform = {"architecture": "amd64", "os": "linux"}
    entry = {"mediaType": OCI, "digest": digest_of(manifest), "size": len(manifest), "platform": platform}
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()


def config_of(repo: str, port: int) -> bytes:
    """It has the name of the repository and of the upstream."""
    root = {"type": "layers", "diff_ids": [digest_of(layer_of(repo))]}
    labels = {"repository": repo, "upstream": str(port)}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": labels}, "rootfs": root}).encode()


def referrer_of(repo: str, port: int) -> bytes:
    """An index with one signature."""
    entry = {"mediaType": OCI, "digest": digest_of(repo.encode()), "size": 1, "artifactType": SIGNATURE}
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()


class Handler(Quirks, BaseHTTPRequestHandler):
    """Answers for the personality of its port."""

    protocol_version = "HTTP/1.1"

    @property
    def habits(self) -> dict[str, Any]:
        """What this upstream does otherwise than the specification's example."""
        return PERSONALITIES[self.port]

    @property
    def port(self) -> int:
        """The port of this personality."""
        _host, port = self.connection.getsockname()
        return int(port)

    def log_message(self, *_arguments: Any) -> None:
        """Only `answer` writes lines."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a response; `_` in the name of a header stands for `-`."""
        authorization = (self.headers.get("Authorization") or "-").partition(" ")[0]
        log.append([self.habits["personality"], self.command, self.path, str(status), authorization])
        self.send(status, body, **headers)

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """The same, unlogged."""
        whole, body = len(body), self.lie(body) if status == 200 else body
        self.send_response(status)
        self.send_header("Content-Length", str(whole if "_broken/" in self.path else len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        challenges = self.challenges() if self.asked is None else self.asked
        for challenge in challenges if status == 401 else []:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(body)

    def lie(self, body: bytes) -> bytes:
        """Other bytes, in a repository called lies_KIND_FORM/…, as long as `lies` says `on`."""
        asked = re.match(r"/v2/lies_([a-z]+)_([a-z]+)/.+/([a-z]+)/", self.path)
        if asked is None or asked[1] != asked[3] or state.get("lies") != "on":
            return body
        self.close_connection = asked[2] == "broken"
        return LIES[asked[2]](body)

    def send_body(self, body: bytes) -> None:
        """At once, or in halves."""
        if "half-" not in self.path or "/blobs/" not in self.path or len(body) < 1000:
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) // 2])
        while state.get("half", "go") == "wait":
            time.sleep(0.02)
        if state.get("half") == "cut":
            self.close_connection = True
            return
        rest, drip = body[len(body) // 2 :], state.get("half") == "drip"
        step = len(rest) // 24 if drip else len(rest)
        for start in range(0, len(rest), step):
            time.sleep(0.5 if drip else 0)
            self.wfile.write(rest[start : start + step])

    def error(self, status: int, code: str, **headers: str) -> None:
        """An error as the specification has it."""
        body = json.dumps({"errors": [{"code": code, "message": code}]}).encode()
        self.answer(status, body, Content_Type="application/json", **headers)

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """One request."""
        self.asked = None
        url = urlsplit(self.path)
        if url.path == "/_log":
            return self.send(200, json.dumps(log).encode())
        if url.path == "/_set":
            state.update(parse_qsl(url.query, keep_blank_values=True))
            if state.pop("expire", None):
                tokens.clear()
            return self.send(200)
        outage = state.get(f"outage-{self.habits['personality']}")
        if outage == "away":
            self.close_connection = True
            return None
        if outage:
            return self.error(int(outage), "OUTAGE", Retry_After="60")
        if url.path == "/" or url.path.startswith("/token"):
            return self.token(parse_qs(url.query))
        path = url.path.removeprefix(self.habits.get("prefix", ""))
        if "redirect" in self.habits:
            return self.answer(302, Location=f"{self.origin(self.habits['redirect'])}{self.path}")
        if path.startswith("/storage/"):
            return self.content(path.rpartition("/")[2], bytes.fromhex(path.split("/")[2]).decode())
        match = _PATH.fullmatch(path)
        if match and self.quirk(match["repo"], match["kind"]):
            return None
        if not self.authorized():
            refusal = int(state.get("refusal", 401)) if self.habits.get("login") == "basic" else 401
            return self.error(refusal, "UNAUTHORIZED")
        if path in ("/v2", "/v2/"):
            return self.answer(200, b"{}", Docker_Distribution_Api_Version="registry/2.0")
        if match is None:
            return self.error(404, "NOT_FOUND")
        return getattr(self, match["kind"])(match["repo"], match["ref"])  # type: ignore[no-any-return]

    def manifests(self, repo: str, ref: str) -> None:
        """A manifest by tag or digest; `slow` in the name of a repository takes its time, `missing` has none.

        Of `platforms` a tag is an index for those who accept one, and otherwise the manifest of one platform.
        """
        if target := self.habits.get("manifests"):
            return self.answer(307, b"<a>Temporary Redirect</a>", Location=f"{self.origin(target)}{self.path}")
        body, media_type = manifest_of(repo, self.port), OCI
        large = self.large(repo)
        index = index_of(repo, self.port)
        names = (digest_of(index), "1") if INDEX in self.headers.get("Accept", "") else (digest_of(index),)
        if "platforms" in repo and ref in names:
            body, media_type = index, INDEX
        if "missing" in repo or ref not in ("1", *TAGS, digest_of(body)):
            return self.error(404, "MANIFEST_UNKNOWN")
        time.sleep(int(repo.rpartition("slow-")[2]) if "slow-" in repo else 0)
        return self.answer(200, body, Content_Type=media_type, Docker_Content_Digest=digest_of(body), **large)

    def blobs(self, repo: str, ref: str) -> None:
        """A blob, from here or from a storage elsewhere."""
        where = f"/storage/{repo.encode().hex()}/{ref}"
        if self.habits.get("blobs") == "relative":
            return self.answer(302, Location=where)
        if target := self.habits.get("blobs"):
            return self.answer(307, Location=f"{self.origin(target)}{where}")
        if ref not in (digest_of(layer_of(repo)), digest_of(config_of(repo, self.port))) or "missing" in repo:
            return self.error(404, "BLOB_UNKNOWN")
        return self.content(ref, repo)

    def content(self, digest: str, repo: str) -> None:
        """The bytes of a blob; `late-N` in the name of a repository sends the first after N seconds."""
        contents = [layer_of(repo), *(config_of(repo, port) for port in PERSONALITIES)]
        found = {digest_of(content): content for content in contents}.get(digest)
        if found is None:
            return self.error(404, "BLOB_UNKNOWN")
        if "late-" in repo and len(found) > 1000:
            time.sleep(int(repo.rpartition("late-")[2]))
        return self.answer(200, found, Content_Type="application/octet-stream", Docker_Content_Digest=digest)

    def tags(self, repo: str, _list: str) -> None:
        """In pages of three, with a Link as this upstream writes it."""
        if "missing" in repo:
            return self.error(404, "NAME_UNKNOWN")
        last = self.last()
        page = [tag for tag in TAGS if tag > last][:3]
        body = json.dumps({"name": repo, "tags": page}).encode()
        more = {"Link": self.link(repo, page[-1])} if page and page[-1] != TAGS[-1] else {}
        return self.answer(200, body, Content_Type="application/json", **more, **self.large(repo))

    def large(self, repo: str) -> dict[str, str]:
        """`header-N` in the name of a repository makes a header of N kB."""
        return {"X_Large": "x" * 1000 * int(repo.rpartition("header-")[2])} if "header-" in repo else {}

    def referrers(self, repo: str, _digest: str) -> None:
        """One signature, where this upstream has the API."""
        if not self.habits.get("referrers"):
            return self.error(404, "NOT_FOUND")
        return self.answer(200, referrer_of(repo, self.port), Content_Type=INDEX, **self.large(repo))

    def token(self, query: dict[str, list[str]]) -> None:
        """The token service, of all that want tokens; those of `short` live for three seconds."""
        if self.habits.get("token_login") and self.headers.get("Authorization") != LOGIN:
            return self.answer(401)
        seconds = 3 if self.habits.get("short") else 300
        token = base64.b64encode(os.urandom(12)).decode()
        tokens[token] = time.time() + seconds
        _, _, service = urlsplit(self.path).path.removeprefix("/").partition("/")
        if service:
            return self.service(service, token)
        return self.answer(200, json.dumps({"token": token, "expires_in": seconds}).encode())

    def authorized(self) -> bool:
        """Whether this request may be answered."""
        given, login = self.headers.get("Authorization", ""), self.habits.get("login")
        if login == "basic":
            return given == "Basic " + base64.b64encode(f"user:{state.get('password', 'secret')}".encode()).decode()
        return login != "bearer" or self.has_token()

    def has_token(self) -> bool:
        """Whether a token is sent that has not expired."""
        return tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "), 0) > time.time()

    def challenges(self) -> list[str]:
        """What a 401 asks for."""
        if self.habits.get("login") == "basic":
            return ['Basic realm="registry"']
        if self.habits.get("mute_to_basic") and self.headers.get("Authorization", "").startswith("Basic"):
            return []
        realm = self.habits.get("realm", f"{self.here}/token")
        return [*self.habits.get("more_challenges", []), f'Bearer realm="{realm}",service="registry"']

    @property
    def here(self) -> str:
        """Where this personality answers."""
        return self.origin(self.habits["personality"])

    def origin(self, personality: str) -> str:
        """Where that personality answers."""
        return f"http://{SETTINGS['name']}:{PORTS[personality]}"


class Server(ThreadingHTTPServer):
    """For clients that come all at once."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_arguments: Any) -> None:
        """Clients may leave."""


if __name__ == "__main__":
    for number in PERSONALITIES:
        threading.Thread(target=Server(("", number), Handler).serve_forever, daemon=True).start()
    print("listening", flush=True)
    threading.Event().wait()
