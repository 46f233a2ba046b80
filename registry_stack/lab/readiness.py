"""Is the lab ready? Each fact is asked of the service itself, from outside as a user would, and only news counts:
the image was made of a lab that ran, whose agents' last reports are in its database."""

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

# It warns of every endpoint that does not answer yet, which is what is being waited for.
logging.getLogger("keystoneauth").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Check:
    """One thing that must be true of a lab that is ready, and what is missing if it is not."""

    name: str
    missing: str | None

    @property
    def holds(self) -> bool:
        """Is it true?"""
        return self.missing is None


class Lab:
    """The administrator's view of a running lab."""

    def __init__(self, machine: Machine, zone: str | None = settings.ZONE) -> None:
        """Look at this machine; `zone` is the DNS zone that must be answered for, if there is one already."""
        self.machine = machine
        self.zone = zone
        machine.container.reload()
        self.started = _instant(str(machine.container.attrs["State"]["StartedAt"]))

    def checks(self) -> dict[str, Probe]:
        """Every fact that makes a lab ready, in the order in which they come true."""
        return {
            "Keystone gives a token": self._token,
            "Swift takes and returns an object": self._swift,
            "Glance answers": self._glance,
            "Heat's engine is up": self._heat,
            "Nova's services are up": self._nova,
            "Neutron's agents are alive": self._neutron,
            "Designate's answer comes over DNS": self._dns,
        } | ({"Cinder's services are up": self._cinder} if self._has_volumes() else {})

    def facts(self) -> list[Check]:
        """Ask for all of them now."""
        return [Check(name, ask(check)) for name, check in self.checks().items()]

    def password(self) -> str:
        """The one password of this lab's administrator, operator and services."""
        return self.machine.read("/etc/lab/password").decode()

    def admin(self) -> Connection:
        """A connection as the administrator."""
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
        return _lacking(NOVA_SERVICES - up)

    def _has_volumes(self) -> bool:
        """Was it brought up with them?"""
        return self.machine.exec(["systemctl", "is-active", "--quiet", "cinder-volume"], check=False).code == 0

    def _cinder(self) -> str | None:
        services = self.admin().block_storage.services()
        up = {one.binary for one in services if one.state == "up" and self._is_from_this_boot(one.updated_at)}
        return _lacking(CINDER_SERVICES - up)

    def _neutron(self) -> str | None:
        agents = self.admin().network.agents()
        alive = {one.binary for one in agents if one.is_alive and self._is_from_this_boot(one.last_heartbeat_at)}
        return _lacking(NEUTRON_AGENTS - alive)

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
        lacking = _lacking({"central", "mdns", "producer", "worker"} - up)
        if lacking or self.zone is None:
            return lacking
        query = ["dig", f"@{settings.ADDRESS}", "+short", "+time=2", "+tries=1", self.zone, "SOA"]
        answer = self.machine.exec(query, check=False, timeout=10)
        return None if self.zone in answer.out else f"no SOA of {self.zone}"

    def _is_from_this_boot(self, stamp: str | None) -> bool:
        """Is it from this life of the lab?"""
        return stamp is not None and _instant(stamp) >= self.started


def wait_until_ready(
    machine: Machine, deadline_s: float, report: ProgressCallback = no_progress, zone: str | None = settings.ZONE
) -> float:
    """Wait until every fact holds, reporting each as it comes true; return the seconds waited."""
    lab = Lab(machine, zone)
    pending = lab.checks()

    def probe() -> str | None:
        if not machine.running:
            raise RegistryStackError(f"{machine.name} stopped while booting:\n{machine.logs()[-2000:]}")
        while pending:
            name, check = next(iter(pending.items()))
            missing = ask(check)
            if missing is not None:
                return f"{name}: not yet: {missing}"
            report(name)
            del pending[name]
        return None

    hint = f"look with `docker exec {machine.name} systemctl --failed` and into its /var/log"
    return wait_until(probe, deadline_s, "the lab to be ready", hint=hint, poll_s=_POLL_S)


def connect(user: str, password: str) -> Connection:
    """A connection to the lab as that user, in the project of the same name."""
    # Nothing that this machine's files or variables say about other clouds.
    region = get_cloud_region(
        load_yaml_config=False,
        load_envvars=False,
        auth=settings.auth(user, password),
        region_name=settings.REGION,
        api_timeout=_TIMEOUT_S,
    )
    return Connection(config=region)


def _lacking(names: set[str]) -> str | None:
    return ", ".join(sorted(names)) or None


def _instant(stamp: Any) -> datetime:
    """A time as the services write it: with a zone, or in UTC without saying so; to the second."""
    # Docker writes nanoseconds, which are more than datetime reads; Neutron has a blank in the middle.
    text = str(stamp).replace(" ", "T").removesuffix("Z").split("+")[0].split(".")[0]
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
