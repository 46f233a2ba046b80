"""An upstream for each habit of a public registry, in one container: docs/upstreams.md says whose habit it is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import requests

from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images.project import ensure_project_image
from tests.support.deadlines import wait_until

NAME = "registries.test"
_FIRST_PORT = 9100
_SERVER = [Path(__file__).with_name(f"personality_{part}.py") for part in ("server", "quirks")]
# What each does otherwise than the example of the specification.
HABITS: dict[str, dict[str, Any]] = {
    "plain": {"referrers": True},
    # registry.k8s.io: manifests and blobs are redirected to another host, /v2/ is not.
    "k8s": {"manifests": "plain", "blobs": "storage"},
    # gcr.io, pkg.dev: blobs are redirected by a relative Location outside /v2/.
    "gar": {"blobs": "relative"},
    # lscr.io: everything is redirected to another registry, which wants a token.
    "lscr": {"redirect": "ghcr"},
    # ghcr.io: a token for everyone.
    "ghcr": {"login": "bearer", "link": "absolute"},
    # quay.io: a token for everyone, blobs in a storage that takes no token.
    "quay": {"login": "bearer", "blobs": "storage"},
    # registry.gitlab.com: the token service is another host, and wants a login.
    "gitlab": {"login": "bearer", "token_login": True, "realm": f"http://{NAME}:{{tokens}}/token"},
    "tokens": {"token_login": True},
    # ECR: Basic, blobs in a storage.
    "ecr": {"login": "basic", "blobs": "storage"},
    # Nexus, Artifactory: Kerberos is offered as well; a Basic login that was not asked for is refused without a word.
    "nexus": {"login": "bearer", "more_challenges": ["Negotiate"]},
    "mute": {"login": "bearer", "mute_to_basic": True},
    # A token that expires between two requests.
    "short": {"login": "bearer", "short": True},
    # Behind a reverse proxy, under a path.
    "path": {"prefix": "/registry"},
    # A challenge that sends its clients' logins elsewhere.
    "thief": {"login": "bearer", "realm": "http://elsewhere.test:{tokens}/token"},
    "storage": {},
    # It asks whoever is sent there for a login.
    "elsewhere": {"login": "basic", "token_login": True},
}
# The ones that are mirrored; the others are only redirected to.
MIRRORED = [name for name in HABITS if name not in ("plain", "storage", "tokens", "elsewhere")]
LOGINS = ("gitlab", "ecr", "mute", "thief")


class Personalities:
    """They run. Get them from `Personalities.start`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @classmethod
    def start(
        cls,
        client: docker.DockerClient,
        network: str,
        labels: Mapping[str, str],
        personalities: Mapping[str, Mapping[str, Any]] | None = None,
        aliases: Sequence[str] = (),
    ) -> "Personalities":
        """Start them, or others, under their names on a network that exists."""
        personalities = personalities or {name: _filled_in(name) for name in HABITS}
        settings = {"name": NAME, "personalities": personalities}
        spec = MachineSpec(
            image=ensure_project_image(client, "host"),
            name=f"{network}-personalities",
            labels=labels,
            network=network,
            aliases=aliases or (NAME, "elsewhere.test", *(f"{name}.test" for name in HABITS)),
            entrypoint=["python3", "-u"],
            command=["-m", "tests.support.personality_server", json.dumps(settings)],
            environment={"PYTHONPATH": "/srv"},
            files={f"/srv/tests/support/{path.name}": (path, 0o644) for path in _SERVER},
        )
        found = cls(Machine.boot(client, spec))
        wait_until(lambda: None if "listening" in found.machine.logs() else "silent", 20, NAME, log=found.machine.logs)
        return found

    def log(self) -> list[list[str]]:
        """PERSONALITY METHOD PATH STATUS AUTHORIZATION-SCHEME of each request."""
        found: list[list[str]] = self.direct("storage", "/_log").json()
        return found

    def set(self, **values: str) -> None:
        """Change `refusal`, the status for a wrong login, or `password`, the right one, or let all tokens `expire`."""
        self.direct("storage", "/_set", params=values)

    @contextmanager
    def outage(self, *names: str, status: str = "away") -> Iterator[None]:
        """They answer with nothing but this status, or close each connection."""
        self.set(**{f"outage-{name}": status for name in names})
        try:
            yield
        finally:
            self.set(**{f"outage-{name}": "" for name in names})

    def direct(self, name: str, path: str, **arguments: Any) -> requests.Response:
        """What an upstream answers to this machine, without a mirror in between."""
        return requests.get(f"http://{self.machine.address}:{port_of(name)}{path}", timeout=30, **arguments)


def port_of(name: str) -> int:
    """Where a personality answers."""
    return _FIRST_PORT + list(HABITS).index(name)


def url_of(name: str, host: str = NAME) -> str:
    """Its URL on its network."""
    return f"http://{host}:{port_of(name)}{HABITS[name].get('prefix', '')}"


def parameters(own_names: bool = False) -> dict[str, Any]:
    """Of a host that mirrors them all; the first is Docker Hub's place.

    With `own_names` each has a host name of its own, as clients need that name it in a path, where no port fits.
    """
    return {
        "upstream_url": url_of("plain"),
        "upstreams": ",".join(f"{name}={url_of(name, f'{name}.test' if own_names else NAME)}" for name in MIRRORED),
        "upstream_credentials": ",".join(f"{name}=user:secret" for name in LOGINS),
        "upstream_login_hosts": f"gitlab={NAME}:{port_of('tokens')}",
    }


def _filled_in(name: str) -> dict[str, Any]:
    ports = {one: port_of(one) for one in HABITS}
    habits = {key: value.format(**ports) if isinstance(value, str) else value for key, value in HABITS[name].items()}
    return {"port": port_of(name), **habits}
