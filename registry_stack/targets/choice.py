"""Chooses the target of a command, and the options of the cloud targets."""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from registry_stack.deployment import State
from registry_stack.errors import RegistryStackError
from registry_stack.lab import settings as lab
from registry_stack.lab.credentials import CLOUDS, ENVIRONMENT
from registry_stack.product import command_line
from registry_stack.targets.cloud.options import CloudOptions


class Target(StrEnum):
    """Where to deploy."""

    local = "local"
    lab = lab.TARGET
    cloud = "cloud"


def chosen_target(target: Target | None, os_cloud: str | None, name: str) -> Target:
    """The given target; else the given cloud; else the target of the existing deployment; else local."""
    if target is not None:
        return target
    if os_cloud or os.environ.get("OS_AUTH_URL"):
        return Target.cloud
    found = State(name).load()
    return Target(found.target) if found else Target.local


def refuse_other_target(name: str, chosen: Target) -> None:
    """Raise RegistryStackError when a deployment on another target has that name."""
    found = State(name).load()
    if found is not None and found.target != chosen.value:
        raise RegistryStackError(
            f'"{name}" is deployed on the target {found.target}: use --target {found.target} or another --name'
        )


def cloud_options(
    target: Target, os_cloud: str | None, name: str, environments: Sequence[Path] = (), **more: Any
) -> CloudOptions:
    """The options of a cloud or of the lab.

    An existing deployment is updated on its own cloud, unless `os_cloud` names another. The lab has its own
    clouds.yaml, and an environment file that is used when none is given.
    """
    if target is Target.lab:
        clouds = lab_clouds_file()
        files = environments or [clouds.with_name(ENVIRONMENT)]
        return CloudOptions(
            cloud=lab.CLOUD, clouds_file=clouds, name=name, target=target.value, environments=files, **more
        )
    found = State(name).load()
    named = os_cloud or (found.cloud if found else "") or None
    return CloudOptions(cloud=named, name=name, target=target.value, environments=environments, **more)


def lab_clouds_file() -> Path:
    """The clouds.yaml that `lab up` writes; raises RegistryStackError when it has not."""
    path = lab.state().folder / CLOUDS
    if not path.exists():
        raise RegistryStackError(f"the lab is not running: run `{command_line('lab', 'up')}`")
    return path
