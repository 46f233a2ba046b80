"""Deployments, remembered for the next command, the tests and the load tests.

Each deployment has a folder that only its owner can read, under the user's state directory (XDG_STATE_HOME), or where
REGISTRY_STACK_STATE says.
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from registry_stack.errors import RegistryStackError
from registry_stack.product import command_line

DEFAULT_NAME = "docker_registry"


@dataclass(frozen=True)
class Member:
    """How to reach one host of a group; `name` is that of its machine."""

    name: str
    mirror_url: str
    registry_url: str
    address: str = ""


@dataclass(frozen=True)
class Deployment:
    """How to reach a registry and mirror: URLs without a final slash, absolute paths of local files.

    `address` is the IP address of both, in case their names do not resolve here. `upstreams` are the registries that
    are mirrored besides the first, by name. On a cloud, `cloud` is its name in clouds.yaml, if one was given, and
    `project` the ID of the project. Of a group, `members` are its hosts, and the URLs are what they share, a
    `load_balancer` perhaps.
    """

    target: str
    name: str
    mirror_url: str
    registry_url: str
    ca_file: str
    registry_username: str
    password_file: str
    warning: str = ""
    address: str = ""
    upstreams: Mapping[str, str] = field(default_factory=dict)
    cloud: str = ""
    project: str = ""
    members: Sequence[Member] = ()
    load_balancer: bool = False

    def as_json(self) -> str:
        """One JSON object, without the password: that is in `password_file` only."""
        return json.dumps(asdict(self), indent=2)

    @property
    def mirror_urls(self) -> list[str]:
        """What clients are to ask: each member of a group, but for a load balancer's."""
        alone = self.load_balancer or not self.members
        return [self.mirror_url] if alone else [one.mirror_url for one in self.members]

    @property
    def registry_urls(self) -> list[str]:
        """What clients are to trust: the one that images are named by, then each member of a group."""
        return list(dict.fromkeys([self.registry_url, *(one.registry_url for one in self.members)]))

    @property
    def password(self) -> str:
        return Path(self.password_file).read_text().rstrip("\n")


class State:
    """The folder of one deployment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = state_root() / name

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file atomically, readable by its owner only."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path, new = self.folder / name, self.folder / f".{name}.new"
        data = content.encode() if isinstance(content, str) else content
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        return new.replace(path)

    def secret(self, name: str) -> str:
        """A secret of this deployment, 32 letters and digits that are generated once."""
        path = self.folder / name
        if not path.exists():
            alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
            self.write(name, "".join(secrets.choice(alphabet) for _ in range(32)) + "\n")
        return path.read_text().rstrip("\n")

    def save(self, deployment: Deployment) -> None:
        # Only what it has: an earlier version does not read names that it does not know.
        known = {name: value for name, value in asdict(deployment).items() if value}
        self.write("deployment.json", json.dumps(known, indent=2) + "\n")

    def load(self) -> Deployment | None:
        path = self.folder / "deployment.json"
        if not path.exists():
            return None
        try:
            fields: dict[str, Any] = json.loads(path.read_text())
            members = tuple(Member(**one) for one in fields.pop("members", ()))
            return Deployment(**fields, members=members)
        except (ValueError, TypeError) as error:
            raise RegistryStackError(f"{path} is not readable ({error}): remove it and deploy again") from error

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def state_root() -> Path:
    """The parent folder of all deployments."""
    override = os.environ.get("REGISTRY_STACK_STATE")
    return Path(override).absolute() if override else user_state_path("docker-registry-stack")


def current(name: str = DEFAULT_NAME) -> Deployment:
    """The deployment of that name; a RegistryStackError says how to make one."""
    found = State(name).load()
    if found is None:
        raise RegistryStackError(f'nothing is deployed under the name "{name}": run `{command_line("deploy")}`')
    return found


def forget_all(target: str) -> list[str]:
    """Forget the deployments of a target that no longer exists; return their names."""
    folders = [path for path in state_root().iterdir() if path.is_dir()] if state_root().exists() else []
    known = {path.name: State(path.name) for path in sorted(folders)}
    gone = [name for name, state in known.items() if (found := state.load()) is not None and found.target == target]
    for name in gone:
        known[name].remove()
    return gone
