"""Options of a local deployment, and the names of its network and volume."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from registry_stack.deployment import DEFAULT_NAME
from registry_stack.errors import RegistryStackError

DEPLOYMENT_LABEL = "org.registry-stack.deployment"
# Seconds from the boot to the first push and pull; the parameter ready_timeout_seconds is for a slower machine.
READY_DEADLINE_S = 300
# As many as heat/registry-group.yaml makes.
MOST_HOSTS = 8


@dataclass(frozen=True)
class LocalOptions:
    """Options of a local deployment. Port None: any free one. Of a group, `number` is which host these are for."""

    name: str = DEFAULT_NAME
    address: str = "127.0.0.1"
    mirror_port: int | None = 443
    registry_port: int | None = 5000
    swift: bool = False
    keep_on_failure: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    hosts: int = 1
    number: int = 0

    @property
    def host(self) -> str:
        """The container of this host. A group's first has the name of a single one, with its volume."""
        return f"{self.name}-host{self.number}" if self.number else self.name

    @property
    def members(self) -> "list[LocalOptions]":
        """The same for each host. Each has the ports after those of the one before."""
        return [
            replace(
                self,
                number=number,
                mirror_port=self.mirror_port and self.mirror_port + number,
                registry_port=self.registry_port and self.registry_port + number,
            )
            for number in range(self.hosts)
        ]

    @property
    def network(self) -> str:
        """The network of the host, its Swift and its clients."""
        return f"{self.name}-net"

    @property
    def peers(self) -> str:
        """The network on which the hosts of a group reach each other, at addresses that stay."""
        return f"{self.name}-peers"

    @property
    def volume(self) -> str:
        """The volume with everything that must survive the host."""
        return f"{self.host}-state"

    @property
    def all_labels(self) -> dict[str, str]:
        """What every part of this deployment is labelled with."""
        return {DEPLOYMENT_LABEL: self.name, **self.labels}

    def refuse_impossible(self) -> None:
        """Raise RegistryStackError when the hosts of a group could not all have their ports."""
        first, second = self.mirror_port, self.registry_port
        if self.hosts > 1 and first and second and abs(first - second) < self.hosts:
            raise RegistryStackError(
                f"--mirror-port {first} and --registry-port {second}: each host takes the next one of both, so with "
                f"{self.hosts} hosts they must be {self.hosts} apart"
            )
