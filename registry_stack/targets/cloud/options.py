"""How a deployment on a cloud differs from the default one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry_stack.deployment import DEFAULT_NAME

Ask = Callable[[str], bool]


@dataclass(frozen=True)
class CloudOptions:
    """Which cloud, which stack, with which parameters; several hosts are a group. `target` is remembered."""

    cloud: str | None = None
    clouds_file: Path | None = None
    name: str = DEFAULT_NAME
    target: str = "cloud"
    environments: Sequence[Path] = ()
    parameters: Sequence[str] = ()
    keep_on_failure: bool = False
    hosts: int = 1
    # Called with the side effect of an update; returns whether to continue.
    ask: Ask = field(default=lambda _consequence: True)
