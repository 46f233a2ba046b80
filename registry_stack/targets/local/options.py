"""Options of a local deployment, and the names of its network and volume."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry_stack.deployment import DEFAULT_NAME

DEPLOYMENT_LABEL = "org.registry-stack.deployment"
# Seconds from the boot to the first push and pull; the parameter ready_timeout_seconds is for a slower machine.
READY_DEADLINE_S = 300


@dataclass(frozen=True)
class LocalOptions:
    """Options of a local deployment. Port None: any free one."""

    name: str = DEFAULT_NAME
    address: str = "127.0.0.1"
    mirror_port: int | None = 443
    registry_port: int | None = 5000
    swift: bool = False
    keep_on_failure: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """The network of the host, its Swift and its clients."""
        return f"{self.name}-net"

    @property
    def volume(self) -> str:
        """The volume with everything that must survive the host."""
        return f"{self.name}-state"

    @property
    def all_labels(self) -> dict[str, str]:
        """What every part of this deployment is labelled with."""
        return {DEPLOYMENT_LABEL: self.name, **self.labels}
