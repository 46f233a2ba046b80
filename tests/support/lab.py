"""The lab, for suites that put stacks on it: one that is up is used and left as it is, else it is brought up for the
suite and taken down after it. Its credentials are written to the suite's own state folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import yaml
from openstack.connection import Connection

from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine
from registry_stack.lab import credentials, lab, settings
from registry_stack.targets.choice import Target, cloud_options
from registry_stack.targets.cloud.connection import connect
from registry_stack.targets.cloud.options import CloudOptions
from tests.support.deadlines import factor


@dataclass(frozen=True)
class UsedLab:
    """A lab that is ready. `folder` has its clouds.yaml, its SSH key and its environment file."""

    client: docker.DockerClient
    folder: Path

    @property
    def clouds_file(self) -> Path:
        """clouds.yaml."""
        return self.folder / credentials.CLOUDS

    @property
    def environment(self) -> Path:
        """Parameters of heat/registry.yaml that fit this lab."""
        return self.folder / credentials.ENVIRONMENT

    @property
    def parameters(self) -> dict[str, Any]:
        """The values in that file."""
        values: dict[str, Any] = yaml.safe_load(self.environment.read_text())["parameters"]
        return values

    @property
    def ssh_key(self) -> Path:
        """The private half of the key pair that servers are made with."""
        return self.folder / credentials.SSH_KEY

    @property
    def ssh_user(self) -> str:
        """Who may log in with it."""
        return settings.SSH_USER

    @property
    def machine(self) -> Machine:
        """The machine that it all runs in."""
        found = Machine.find(self.client, settings.NAME)
        assert found is not None
        return found

    def connect(self, admin: bool = False) -> Connection:
        """As the operator of stacks, or as the cloud's administrator."""
        return connect(f"{settings.CLOUD}-admin" if admin else settings.CLOUD, self.clouds_file)

    def options(self, name: str, *parameters: str, **more: Any) -> CloudOptions:
        """As `deploy --target lab` makes them: the lab's environment file, then `NAME=VALUE`."""
        return cloud_options(Target.lab, None, name, parameters=list(parameters), **more)


@contextmanager
def used_lab() -> Iterator[UsedLab]:
    """The lab, up and ready."""
    client = engine()
    there = Machine.find(client, settings.NAME)
    ours = there is None or not there.running
    try:
        yield UsedLab(client, lab.up(patience=factor()))
    finally:
        if ours:
            lab.down()
