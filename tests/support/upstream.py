"""An upstream of the project's own: a real registry filled with generated images, with or without a login.

    upstream = Upstream.start(client, network, labels)      # auth="basic" or "token" for one with a login
    image = upstream.push("library/sample", "1.0", [100_000, 5_000_000])
    upstream.url            # for the mirror: http://upstream.test:5000, a name on `network`
    upstream.blob_fetches() # how often a blob was really asked for
    upstream.stop(), upstream.start_again(), upstream.pause(), upstream.unpause(), upstream.remove()

Images are put into a registry without a login, published on this machine; what the mirror reaches is another,
read-only one on the same volume.
"""

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import docker
import requests
from docker.models.networks import Network

from registry_stack.docker.machine import PROJECT, PROJECT_LABEL, Machine, MachineSpec
from registry_stack.images.service import service_image
from tests.support.certificates import Pair, certificate_at
from tests.support.deadlines import wait_until
from tests.support.oci import ImageRef, Layer, OciClient
from tests.support.tokens import AUTH_NAME, TokenServer

Auth = Literal["none", "basic", "token"]

IMAGE, NGINX = "registry:2.8.3", "nginx:1.30.7-alpine"
_REFUSAL = "server {{ listen 5000; location / {{ return {status}; }} }}\n"
NAME = "upstream.test"
# The login of the variants that have one.
USERNAME, PASSWORD = "upstream-user", "upstream-secret"
_HTPASSWD = f"{USERNAME}:$2b$05$8A7FAyjBsqxeolwvBpLPaOiZHS93QSJDaQhjYNHtPUYc/kfmB4vJy\n"
# As Docker Hub says it: so many pulls of so many in a window of seconds.
PULLS_LEFT, PULLS = 76, 100
_RATE_LIMIT = f"{{RateLimit-Limit: ['{PULLS};w=21600'], RateLimit-Remaining: ['{PULLS_LEFT};w=21600']}}"
_DATA = "/var/lib/registry"
_CERTIFICATE, _KEY = "/etc/upstream/server.crt", "/etc/upstream/server.key"
# Of the container that has it, so that an upstream can be found again: where the mirror reaches it.
_AUTHORITY_LABEL = "org.registry-stack.upstream"
_DEADLINE_S = 30
_REQUEST = re.compile(r'"(?P<method>[A-Z]+) (?P<path>/v2/\S*) HTTP/[0-9.]+" (?P<status>\d+)')


@dataclass(frozen=True)
class Request:
    """One request that the upstream has answered."""

    method: str
    path: str
    status: int


def ensure_network(client: docker.DockerClient, name: str, labels: Mapping[str, str]) -> Network:
    """The network of that name, made with these labels if it is not there."""
    found = client.networks.list(names=[f"^{name}$"])
    if found:
        return found[0]
    return client.networks.create(name, driver="bridge", labels={PROJECT_LABEL: PROJECT, **labels})


class Upstream:
    """A running upstream. Get one from `Upstream.start`."""

    def __init__(
        self, store: Machine, front: Machine, tokens: TokenServer | None, volume: str, scheme: str = "http"
    ) -> None:
        self._store, self._front, self._tokens, self._volume = store, front, tokens, volume
        self._limiter: Machine | None = None
        self.authority: str = front.container.labels[_AUTHORITY_LABEL]
        self.url = f"{scheme}://{self.authority}"

    @classmethod
    def start(
        cls,
        client: docker.DockerClient,
        network: str,
        labels: Mapping[str, str],
        *,
        name: str | None = None,
        auth: Auth = "none",
        auth_name: str = AUTH_NAME,
        alias: str = NAME,
        published: str = "",
        tls: Pair | None = None,
        password: str = PASSWORD,
    ) -> "Upstream":
        """Start one on a network that exists; `name` is what its containers' names start with.

        `alias` is its own name on the network, `auth_name` the one of its token service; with `tls` it speaks HTTPS.
        `published` is an address of this machine, for a mirror that is not on the network but reaches that.
        `password` is what its token service wants.
        """
        name = name or f"{network}-upstream"
        image, volume = service_image(client, IMAGE, "registry"), f"{name}-data"
        tokens = None
        if auth == "token":
            login = (USERNAME, password)
            tokens = TokenServer.start(client, network, labels, f"{name}-tokens", login, auth_name)
        environment, files = _settings(auth, tokens, auth_name)
        if tls is not None:
            environment |= {"REGISTRY_HTTP_TLS_CERTIFICATE": _CERTIFICATE, "REGISTRY_HTTP_TLS_KEY": _KEY}
            files |= {_CERTIFICATE: (tls.certificate, 0o644), _KEY: (tls.key, 0o644)}
        port = _free_port(published) if published else None
        store = Machine.boot(
            client,
            MachineSpec(
                image=image,
                name=f"{name}-store",
                labels=labels,
                network=network,
                ports={5000: ("127.0.0.1", None)},
                volumes={_DATA: volume},
            ),
        )
        front = Machine.boot(
            client,
            MachineSpec(
                image=image,
                name=name,
                labels={**labels, _AUTHORITY_LABEL: f"{published}:{port}" if published else f"{alias}:5000"},
                network=network,
                aliases=(alias,),
                ports={5000: (published or "127.0.0.1", port)},
                volumes={_DATA: volume},
                environment=environment,
                files=files,
            ),
        )
        upstream = cls(store, front, tokens, volume, "http" if tls is None else "https")
        upstream._wait()
        return upstream

    @classmethod
    def find(cls, client: docker.DockerClient, name: str) -> "Upstream | None":
        """The one that was started under this name, if it is still there."""
        store, front = Machine.find(client, f"{name}-store"), Machine.find(client, name)
        if store is None or front is None:
            return None
        return cls(store, front, None, f"{name}-data")

    def push(self, repo: str, tag: str, layers: Sequence[bytes | int | Layer]) -> ImageRef:
        """Put a generated image into it: see OciClient.push."""
        return self.filler.push(repo, tag, layers)

    @property
    def filler(self) -> OciClient:
        """A client that may write to it without a login."""
        return OciClient(f"http://127.0.0.1:{self._store.port(5000)}")

    @property
    def front(self) -> Machine:
        """What the mirror reaches."""
        return self._front

    @property
    def token_requests(self) -> list[str]:
        """What its token service was asked: `token`, `refused` or `anonymous`, then the scopes."""
        lines = self._tokens.log().splitlines() if self._tokens else []
        return [line for line in lines if line.split(" ")[0] in ("token", "refused", "anonymous")]

    def name_token_service(self, name: str) -> None:
        """Give its token service this name, on its network, instead of the ones before."""
        assert self._tokens is not None
        self._tokens.rename(name)

    def requests(self, since: datetime | None = None) -> list[Request]:
        """What it has been asked for, in order; `since` takes a `datetime.now(UTC)` of before."""
        log = bytes(self._front.container.logs(since=since.timestamp() if since else None, stderr=False))
        found = (_REQUEST.search(line) for line in log.decode(errors="replace").splitlines())
        return [Request(one["method"], one["path"], int(one["status"])) for one in found if one]

    def blob_fetches(self, digest: str = "", since: datetime | None = None) -> int:
        """How many blobs (or how often the one blob) it has delivered."""
        wanted = f"/blobs/{digest}"
        delivered = (one for one in self.requests(since) if one.method == "GET" and one.status in (200, 206))
        return sum(wanted in one.path for one in delivered)

    def stop(self) -> None:
        """Away: connections fail at once and its name is unknown."""
        self._front.container.stop(timeout=2)

    def start_again(self) -> None:
        """Back after `stop`. Who has looked its name up may need up to 30 s to see it."""
        self._front.container.start()
        self._wait()

    def pause(self) -> None:
        """Away: connections are accepted and never answered."""
        self._front.container.pause()

    def unpause(self) -> None:
        """Back after `pause`."""
        self._front.container.unpause()

    def limit(self, status: int = 429) -> None:
        """As one that limits the rate: 429, or another status, to everything, under its name and at its port."""
        client, front = self._store.client, self._front
        host, _colon, port = self.authority.rpartition(":")
        networks = front.container.attrs["NetworkSettings"]["Networks"]
        self.stop()
        (network,) = networks
        self._limiter = Machine.boot(
            client,
            MachineSpec(
                image=service_image(client, NGINX, "nginx"),
                name=f"{front.name}-limiter",
                labels={**front.container.labels},
                network=network,
                aliases=(host,),
                ports={5000: (host, int(port))} if _published_on(front) == host else {},
                files={"/etc/nginx/conf.d/default.conf": (_REFUSAL.format(status=status).encode(), 0o644)},
            ),
        )

    def unlimit(self) -> None:
        """Back after `limit`."""
        if self._limiter is not None:
            self._limiter.remove()
            self._limiter = None
            self.start_again()

    def remove(self) -> None:
        """Remove its containers and its volume."""
        for machine in (self._front, self._store):
            machine.remove()
        if self._tokens is not None:
            self._tokens.remove()
        self._store.client.volumes.get(self._volume).remove(force=True)

    def _wait(self) -> None:
        for machine in (self._store, self._front):
            wait_until(partial(_status, machine), _DEADLINE_S, machine.name, log=machine.logs)


def _status(machine: Machine) -> str | None:
    """A probe: the registry answers, if only to ask for a login."""
    here = f"{_published_on(machine)}:{machine.port(5000)}"
    if "REGISTRY_HTTP_TLS_KEY" in str(machine.container.attrs["Config"]["Env"]):
        # Whoever trusts its CA will verify it.
        certificate_at(here)
        return None
    code = requests.get(f"http://{here}/v2/", timeout=5).status_code
    return None if code in (200, 401) else f"HTTP {code}"


def _published_on(machine: Machine) -> str:
    """The address here."""
    (binding,) = machine.container.attrs["HostConfig"]["PortBindings"]["5000/tcp"]
    return str(binding["HostIp"])


def _settings(
    auth: Auth, tokens: TokenServer | None, auth_name: str
) -> tuple[dict[str, str], dict[str, tuple[bytes, int]]]:
    """Environment and files of the read-only registry."""
    environment = {"REGISTRY_STORAGE_MAINTENANCE_READONLY": "{enabled: true}", "REGISTRY_HTTP_HEADERS": _RATE_LIMIT}
    if auth == "basic":
        path = "/etc/upstream/htpasswd"
        login = {
            "REGISTRY_AUTH": "htpasswd",
            "REGISTRY_AUTH_HTPASSWD_REALM": NAME,
            "REGISTRY_AUTH_HTPASSWD_PATH": path,
        }
        return environment | login, {path: (_HTPASSWD.encode(), 0o644)}
    if tokens is not None:
        path = "/etc/upstream/tokens.crt"
        login = {
            "REGISTRY_AUTH": "token",
            "REGISTRY_AUTH_TOKEN_REALM": f"http://{auth_name}:8080/token",
            "REGISTRY_AUTH_TOKEN_SERVICE": NAME,
            "REGISTRY_AUTH_TOKEN_ISSUER": AUTH_NAME,
            "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": path,
        }
        return environment | login, {path: (tokens.certificate, 0o644)}
    return environment, {}


def now() -> datetime:
    """For `since`."""
    return datetime.now(UTC)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
