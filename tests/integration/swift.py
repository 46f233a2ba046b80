"""A real Swift with Keystone beside the hosts, and its API as its own clients use it."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from registry_stack.images.project import ensure_project_image
from registry_stack.machines.swift import ALIAS, PROJECT, REGION, USERNAME
from tests.integration.session import Run, start
from tests.support.deadlines import wait_until

KEYSTONE_PORT, SWIFT_PORT = 5000, 8080
DEADLINE_S = 120
_TIMEOUT_S = 60
_DOMAIN = {"id": "default"}


@dataclass(frozen=True)
class Token:
    """Who somebody is to Keystone."""

    value: str
    user: str
    project: str


class Swift:
    """A Swift; returns when it is ready."""

    def __init__(self, this_run: Run) -> None:
        self.password = secrets.token_hex(16)
        container = this_run.container(
            ensure_project_image(this_run.client, "swift"),
            "storage",
            env={
                "SWIFT_USERNAME": USERNAME,
                "SWIFT_PASSWORD": self.password,
                "SWIFT_PROJECT": PROJECT,
                "REGION": REGION,
                "PUBLIC_HOST": ALIAS,
            },
            ports=[KEYSTONE_PORT, SWIFT_PORT],
            # It talks to itself by the name that its catalog has.
            network=this_run.network("outside"),
            network_aliases=[ALIAS],
        )
        self.container: DockerContainer = start(container)
        self.session = requests.Session()
        self.session.trust_env = False
        wait_until(self._status, DEADLINE_S, "Swift", log=self._log)

    def connect(self, network: Network) -> None:
        """Make it reachable by its name on the network of a host."""
        network.connect(str(self.container.get_wrapped_container().id), network_aliases=[ALIAS])

    def parameters(self, container: str, **others: Any) -> dict[str, Any]:
        """The parameters of a host whose images are in this container."""
        return {
            "storage_driver": "swift",
            "swift_container": container,
            "os_username": USERNAME,
            "os_password": self.password,
            "os_project_name": PROJECT,
            "os_region": REGION,
            "os_authurl": f"http://{ALIAS}:{KEYSTONE_PORT}",
            **others,
        }

    def s3_parameters(self, bucket: str) -> dict[str, Any]:
        """The parameters of a host whose images are in this bucket, which is made."""
        self._request("PUT", f"{self._account}/{bucket}", self.token)
        access, secret = self._ec2_credential()
        return {
            "storage_driver": "s3",
            "s3_endpoint": f"http://{ALIAS}:{SWIFT_PORT}",
            "s3_bucket": bucket,
            "s3_access_key": access,
            "s3_secret_key": secret,
        }

    def objects(self, container: str, prefix: str = "") -> list[dict[str, Any]]:
        """The objects in a container."""
        query = {"format": "json", "prefix": prefix}
        found: list[dict[str, Any]] = []
        while True:
            page = self._request("GET", f"{self._account}/{container}", self.token, params=query).json()
            found += page
            if not page:
                return found
            query["marker"] = page[-1]["name"]

    def head(self, container: str, name: str) -> requests.Response:
        """What Swift says about an object, 404 too."""
        url, headers = f"{self._account}/{container}/{name}", {"X-Auth-Token": self.token.value}
        return self.session.head(url, headers=headers, timeout=_TIMEOUT_S)

    def read(self, container: str, name: str) -> Iterator[bytes]:
        """The bytes of an object."""
        answer = self._request("GET", f"{self._account}/{container}/{name}", self.token, stream=True)
        return answer.iter_content(1 << 20)

    def extract(self, container: str, archive: bytes) -> None:
        """Make an object of each file in a tar."""
        query, headers = {"extract-archive": "tar"}, {"X-Auth-Token": self.token.value, "Accept": "application/json"}
        url, limit = f"{self._account}/{container}", 600
        answer = requests.put(url, archive, params=query, headers=headers, timeout=limit).json()
        assert (answer["Response Status"], answer["Errors"]) == ("201 Created", []), answer

    def add_user(self, name: str, password: str) -> None:
        """A user who may use the same project."""
        admin = self._authenticate("admin", self._service_password(), "admin")
        body = {"user": {"name": name, "password": password, "domain_id": "default"}}
        user = self._keystone("POST", "/users", admin, json=body).json()["user"]["id"]
        roles = self._keystone("GET", "/roles", admin, params={"name": "member"}).json()["roles"]
        path = f"/projects/{self.token.project}/users/{user}/roles/{roles[0]['id']}"
        self._keystone("PUT", path, admin)

    def reached_from_here(self, url: str) -> str:
        """A URL of Swift as the hosts know it, for this machine."""
        parts = urlsplit(url)
        assert parts.netloc == f"{ALIAS}:{SWIFT_PORT}", url
        return parts._replace(netloc=self._address(SWIFT_PORT)).geturl()

    @cached_property
    def token(self) -> Token:
        """The user's."""
        return self._authenticate(USERNAME, self.password, PROJECT)

    @property
    def _account(self) -> str:
        return f"http://{self._address(SWIFT_PORT)}/v1/AUTH_{self.token.project}"

    def _address(self, port: int) -> str:
        return f"127.0.0.1:{self.container.get_exposed_port(port)}"

    def _authenticate(self, user: str, password: str, project: str) -> Token:
        identity = {"name": user, "domain": _DOMAIN, "password": password}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": identity}},
                "scope": {"project": {"name": project, "domain": _DOMAIN}},
            }
        }
        answer = self._keystone("POST", "/auth/tokens", None, json=body)
        fields = answer.json()["token"]
        return Token(answer.headers["X-Subject-Token"], fields["user"]["id"], fields["project"]["id"])

    def _ec2_credential(self) -> tuple[str, str]:
        path = f"/users/{self.token.user}/credentials/OS-EC2"
        made = self._keystone("POST", path, self.token, json={"tenant_id": self.token.project}).json()["credential"]
        return made["access"], made["secret"]

    def _keystone(self, method: str, path: str, token: Token | None, **arguments: Any) -> requests.Response:
        return self._request(method, f"http://{self._address(KEYSTONE_PORT)}/v3{path}", token, **arguments)

    def _request(self, method: str, url: str, token: Token | None, **arguments: Any) -> requests.Response:
        headers = {"X-Auth-Token": token.value} if token else {}
        answer = self.session.request(method, url, headers=headers, timeout=_TIMEOUT_S, **arguments)
        answer.raise_for_status()
        return answer

    def _service_password(self) -> str:
        return self.container.exec(["cat", "/srv/keystone/service-password"]).output.decode()

    def _status(self) -> str | None:
        """A probe: the user has a token and an account that takes objects."""
        self._request("HEAD", self._account, self.token)
        return None if "swift is ready" in self._log() else "it is not seeded yet"

    def _log(self) -> str:
        return b"".join(self.container.get_logs()).decode(errors="replace")
