"""Readiness checks of the lab. Each asks the service itself, from outside as a user would.

Reports from before this boot do not count: the image is that of a running lab, with its agents' last reports in the
database.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from openstack.config import get_cloud_region
from openstack.connection import Connection

from registry_stack.docker.machine import Machine
from registry_stack.errors import RegistryStackError
from registry_stack.lab import settings
from registry_stack.polling import Probe, ask, wait_until
from registry_stack.progress import ProgressCallback, no_progress

NOVA_SERVICES = {"nova-conductor", "nova-scheduler", "nova-compute"}
CINDER_SERVICES = {"cinder-scheduler", "cinder-volume"}
NEUTRON_AGENTS = {
    "neutron-linuxbridge-agent",
    "neutron-dhcp-agent",
    "neutron-l3-agent",
    "neutron-metadata-agent",
}
DEADLINE_S = 300
_TIMEOUT_S = 15
_POLL_S = 1.0

# It warns of every endpoint that does not answer yet, as expected during start-up.
logging.getLogger("keystoneauth").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Check:
    """The result of one readiness check: `failure` is None when it passed."""

    name: str
    failure: str | None

    @property
    def passed(self) -> bool:
        return self.failure is None


class Lab:
    """A running lab as its administrator sees it."""

    def __init__(self, machine: Machine, zone: str | None = settings.ZONE) -> None:
        """`zone` is the DNS zone that must be served, if it has been created."""
        self.machine = machine
        self.zone = zone
        machine.container.reload()
        self.started = _instant(str(machine.container.attrs["State"]["StartedAt"]))

    def probes(self) -> dict[str, Probe]:
        """The probe of every check by name, in the order in which they first pass."""
        return {
            "Keystone issues a token": self._token,
            "Swift stores and returns an object": self._swift,
            "Glance answers": self._glance,
            "Heat's engine is up": self._heat,
            "Nova's services are up": self._nova,
            "Neutron's agents are alive": self._neutron,
            "Designate's zone is served over DNS": self._dns,
            **({"Cinder's services are up": self._cinder} if self._runs("cinder-volume") else {}),
            **({"Octavia answers": self._octavia} if self._runs("octavia-worker") else {}),
        }

    def checks(self) -> list[Check]:
        """Run all checks now."""
        return [Check(name, ask(probe)) for name, probe in self.probes().items()]

    def password(self) -> str:
        """The password of the administrator, the operator and all services."""
        return self.machine.read("/etc/lab/password").decode()

    def admin(self) -> Connection:
        if not hasattr(self, "_admin"):
            self._admin = connect("admin", self.password())
        return self._admin

    def _token(self) -> str | None:
        return None if self.admin().authorize() else "no token"

    def _glance(self) -> str | None:
        list(self.admin().image.images(limit=1))
        return None

    def _heat(self) -> str | None:
        services = self.admin().orchestration.get("/services", timeout=_TIMEOUT_S).json()["services"]
        fresh = [one for one in services if self._is_from_this_boot(one["updated_at"])]
        return None if any(one["status"] == "up" for one in fresh) else "no engine has reported"

    def _nova(self) -> str | None:
        services = self.admin().compute.services()
        up = {one.binary for one in services if one.state == "up" and self._is_from_this_boot(one.updated_at)}
        return _joined(NOVA_SERVICES - up)

    def _runs(self, unit: str) -> bool:
        """Whether a service was started that a lab has only when it is asked for."""
        return self.machine.exec(["systemctl", "is-active", "--quiet", unit], check=False).code == 0

    def _cinder(self) -> str | None:
        services = self.admin().block_storage.services()
        up = {one.binary for one in services if one.state == "up" and self._is_from_this_boot(one.updated_at)}
        return _joined(CINDER_SERVICES - up)

    def _octavia(self) -> str | None:
        list(self.admin().load_balancer.load_balancers())
        return None

    def _neutron(self) -> str | None:
        agents = self.admin().network.agents()
        alive = {one.binary for one in agents if one.is_alive and self._is_from_this_boot(one.last_heartbeat_at)}
        return _joined(NEUTRON_AGENTS - alive)

    def _swift(self) -> str | None:
        swift, text = self.admin().object_store, "written by the lab's readiness check"
        swift.create_container("lab-ready")
        swift.upload_object(container="lab-ready", name="object", data=text)
        returned = swift.download_object("object", container="lab-ready")
        swift.delete_object("object", container="lab-ready")
        return None if returned == text.encode() else "Swift returned another object"

    def _dns(self) -> str | None:
        statuses = self.admin().dns.get("/service_statuses", timeout=_TIMEOUT_S).json()["service_statuses"]
        up = {
            one["service_name"]
            for one in statuses
            if one["status"] == "UP" and self._is_from_this_boot(one["heartbeated_at"])
        }
        missing = _joined({"central", "mdns", "producer", "worker"} - up)
        if missing or self.zone is None:
            return missing
        query = ["dig", f"@{settings.ADDRESS}", "+short", "+time=2", "+tries=1", self.zone, "SOA"]
        answer = self.machine.exec(query, check=False, timeout=10)
        return None if self.zone in answer.out else f"no SOA of {self.zone}"

    def _is_from_this_boot(self, stamp: str | None) -> bool:
        return stamp is not None and _instant(stamp) >= self.started


def wait_until_ready(
    machine: Machine, deadline_s: float, report: ProgressCallback = no_progress, zone: str | None = settings.ZONE
) -> float:
    """Wait until every check passes, reporting each; return the seconds waited."""
    lab = Lab(machine, zone)
    pending = lab.probes()

    def probe() -> str | None:
        if not machine.running:
            raise RegistryStackError(f"{machine.name} stopped during boot:\n{machine.logs()[-2000:]}")
        while pending:
            name, check = next(iter(pending.items()))
            failure = ask(check)
            if failure is not None:
                return f"{name}: not yet: {failure}"
            report(name)
            del pending[name]
        return None

    hint = f"look with `docker exec {machine.name} systemctl --failed` and in its /var/log"
    return wait_until(probe, deadline_s, "the lab to be ready", hint=hint, poll_s=_POLL_S)


def connect(user: str, password: str) -> Connection:
    """A connection to the lab as that user, in the project of the same name."""
    # Without the clouds that this machine's files or variables describe.
    region = get_cloud_region(
        load_yaml_config=False,
        load_envvars=False,
        auth=settings.auth(user, password),
        region_name=settings.REGION,
        api_timeout=_TIMEOUT_S,
    )
    return Connection(config=region)


def _joined(names: set[str]) -> str | None:
    return ", ".join(sorted(names)) or None


def _instant(stamp: Any) -> datetime:
    """A service's time stamp, in UTC with or without a zone, to the second."""
    # Docker writes nanoseconds, which datetime does not parse; Neutron has a space in the middle.
    text = str(stamp).replace(" ", "T").removesuffix("Z").split("+")[0].split(".")[0]
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
