"""Status of a deployment: a local one's units and their memory, the endpoints of one on a cloud."""

import json
import ssl
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from registry_stack.deployment import Deployment, Member
from registry_stack.docker.machine import Machine
from registry_stack.endpoint import get_status, is_untrusted_issuer
from registry_stack.errors import RegistryStackError
from registry_stack.targets.local.rollout import UNITS
from registry_stack.targets.local.target import find_host, find_running

_MIB = 1 << 20
_ACTIVE, _OWN_CERTIFICATE = "active", "active, with a certificate that the stack's CA did not issue"
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": _MIB, "GiB": 1 << 30}


@dataclass(frozen=True)
class Service:
    """One service of a host: systemd's state of its unit, memory in MiB. `host` is given for those of a group."""

    unit: str
    state: str
    memory_mib: float
    host: str = ""


@dataclass(frozen=True)
class Status:
    """A deployment and its services."""

    deployment: Deployment
    services: tuple[Service, ...] = field(default=())

    @property
    def memory_mib(self) -> float:
        return sum(service.memory_mib for service in self.services)

    @property
    def healthy(self) -> bool:
        return all(service.state in (_ACTIVE, _OWN_CERTIFICATE) for service in self.services)

    def as_json(self) -> str:
        """One object: the deployment's fields, `services`, `memory_mib`, `healthy`."""
        fields: dict[str, Any] = asdict(self.deployment) | {
            "services": [asdict(service) for service in self.services],
            "memory_mib": round(self.memory_mib, 1),
            "healthy": self.healthy,
        }
        return json.dumps(fields, indent=2)


def status_of(deployment: Deployment) -> Status:
    """Read the status now; raises RegistryStackError when a local host that is alone is not running."""
    services = _local(deployment) if deployment.target == "local" else _remote(deployment)
    return Status(deployment, tuple(services))


def _local(deployment: Deployment) -> list[Service]:
    if not deployment.members:
        return _services(find_host(deployment.name), deployment)
    services = []
    for member in deployment.members:
        host = find_running(member.name)
        found = _services(host, deployment) if host else [Service("(all)", "the host is not running", 0.0)]
        services += [replace(service, host=member.name) for service in found]
    return services


def _services(host: Machine, deployment: Deployment) -> list[Service]:
    units = (*UNITS, *(f"docker-registry-proxy@{name}" for name in deployment.upstreams))
    states = host.exec(["systemctl", "is-active", *units], check=False).out.split()
    memory = _memory(host)
    # A container's name cannot have an @.
    return [
        Service(unit, state, memory.get(unit.replace("@", "-"), 0.0)) for unit, state in zip(units, states, strict=True)
    ]


def _remote(deployment: Deployment) -> list[Service]:
    """The endpoints as a client sees them: the mirror is open to all, the registry demands a login."""
    ends = [deployment, *(_as_deployment(deployment, member) for member in deployment.members)]
    return [
        Service(service, _answer(one, url, wanted), 0.0, one.name if deployment.members else "")
        for one in ends
        for service, url, wanted in (("mirror", one.mirror_url, 200), ("registry", one.registry_url, 401))
    ]


def _as_deployment(deployment: Deployment, member: Member) -> Deployment:
    """A member of a group as if it were alone."""
    return replace(deployment, **asdict(member), members=())


def _answer(deployment: Deployment, url: str, wanted: int) -> str:
    """`active`, or what the endpoint answers instead of the wanted status."""
    state = _ACTIVE
    try:
        try:
            code = get_status(deployment, url)
        except ssl.SSLCertVerificationError as error:
            if not is_untrusted_issuer(error):
                raise
            state, code = _OWN_CERTIFICATE, get_status(deployment, url, verify=False)
    except OSError as error:
        return f"cannot be reached: {error}"
    return state if code == wanted else f"answers HTTP {code}"


def _memory(host: Machine) -> dict[str, float]:
    """Memory in MiB by container; empty while the host's Docker is starting."""
    template = "{{.Name}} {{.MemUsage}}"
    lines = host.exec(["docker", "stats", "--no-stream", "--format", template], check=False).out.splitlines()
    return {name: _mib(used) for name, used, *_limit in (line.split() for line in lines)}


def _mib(text: str) -> float:
    """`12.3MiB`, as docker stats writes it."""
    number = text.rstrip("BGKMTi")
    unit = text[len(number) :]
    if unit not in _SIZES:
        raise RegistryStackError(f'unexpected size in docker stats: "{text}"')
    return float(number) * _SIZES[unit] / _MIB
