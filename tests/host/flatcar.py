"""A machine that is started as Flatcar starts: no cloud-init, no package manager, coreos-cloudinit at every boot."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images.archive import save_images
from registry_stack.images.project import ensure_project_image
from registry_stack.images.service import service_image
from registry_stack.product import IMAGE_PARAMETERS, TEMPLATE
from registry_stack.targets.local.host import LOCAL_DEFAULTS, render
from registry_stack.targets.local.rollout import wait_until_ready
from registry_stack.template.environment import Environment, SourcedValue
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from tests.support import coreos_cloudinit
from tests.support.oci import OciClient

# Where coreos-cloudinit's user-cloudinit@.service looks; on OpenStack the same text comes from Nova.
USER_DATA = "/var/lib/flatcar-install/user_data"
ADDRESS = "198.51.100.9"
UNIT = "oem-cloudinit.service"
# flatcar/init, systemd/system/oem-cloudinit.service, which has no order either. What is added: /usr read-only, as it
# is there; the images that are handed over to this machine, since there is no registry to pull them from.
_UNIT = f"""[Unit]
Description=Run cloudinit
After=load-images.service

[Service]
Type=oneshot
Environment=COREOS_PUBLIC_IPV4={ADDRESS} COREOS_PRIVATE_IPV4={ADDRESS}
ExecStartPre=/bin/sh -c 'mountpoint -q /usr || mount --bind /usr /usr; mount -o remount,bind,ro /usr'
ExecStart=/opt/bin/coreos-cloudinit --from-file={USER_DATA}

[Install]
WantedBy=multi-user.target
"""
_NO_PACKAGES = b"#!/bin/sh\necho 'Flatcar has no package manager' >&2\nexit 1\n"


@dataclass(frozen=True)
class Flatcar:
    """The machine, and the parameters it was made with."""

    machine: Machine
    values: Mapping[str, Any]

    @classmethod
    def boot(cls, client: docker.DockerClient, name: str, network: str, labels: Mapping[str, str]) -> "Flatcar":
        """Boot one with an upstream at http://upstream.test:5000; returns when it has proved that it works."""
        values = _values(client)
        machine = Machine.boot(client, machine_spec(client, name, network, labels, values))
        flatcar = cls(machine, values)
        flatcar.wait_until_ready()
        return flatcar

    def wait_until_ready(self) -> None:
        """Wait for its own proof that it works; raises RegistryStackError with its reason."""
        wait_until_ready(self.machine, lambda _step: None)

    def reboot(self) -> None:
        """Restart it; returns when it has proved again that it works."""
        self.machine.restart()
        self.wait_until_ready()

    def output(self, command: str) -> str:
        """What a shell command says there; a failure is a RegistryStackError."""
        return self.machine.exec(["sh", "-euc", command]).out.strip()

    def client(self, port: int, folder: Path) -> OciClient:
        """A client of 443 or 5000 that trusts the machine's CA, and is logged in on 5000."""
        ca = folder / "ca.crt"
        ca.write_bytes(self.machine.read("/home/root/registry_certs/ca.crt"))
        login = (self.values["registry_username"], self.values["registry_password"]) if port == 5000 else None
        return OciClient(f"https://localhost:{self.machine.port(port)}", login, str(ca))


def _values(client: docker.DockerClient) -> dict[str, Any]:
    """Every parameter of the template, with images that are in the engine's store."""
    own = {
        "upstream_url": "http://upstream.test:5000",
        "upstream_check_image": "library/check:1.0",
        "require_upstream": True,
        "registry_password": secrets.token_hex(16),
    }
    given = {name: SourcedValue(value, "the test") for name, value in own.items()}
    values = resolve_parameters(load_template(TEMPLATE), Environment(given, {}), LOCAL_DEFAULTS)
    return values | {name: service_image(client, values[name], kind) for name, kind in IMAGE_PARAMETERS.items()}


def machine_spec(
    client: docker.DockerClient, name: str, network: str, labels: Mapping[str, str], values: Mapping[str, Any]
) -> MachineSpec:
    """The machine, with the user-data of these parameters."""
    archives = save_images(client, sorted({values[name] for name in IMAGE_PARAMETERS}))
    return MachineSpec(
        image=ensure_project_image(client, "host"),
        name=name,
        labels=labels,
        network=network,
        hostname=values["hostname"],
        ports={443: ("127.0.0.1", None), 5000: ("127.0.0.1", None)},
        files={
            USER_DATA: (render(values).encode(), 0o600),
            "/opt/bin/coreos-cloudinit": (_program(), 0o755),
            f"/etc/systemd/system/{UNIT}": (_UNIT.encode(), 0o644),
            # Enabled: a link there cannot be handed over.
            f"/etc/systemd/system/multi-user.target.d/{UNIT}.conf": (f"[Unit]\nWants={UNIT}\n".encode(), 0o644),
            "/etc/cloud/cloud-init.disabled": (b"", 0o644),
            # Its keys are cloud-init's to make.
            "/etc/systemd/system/ssh.service.d/off.conf": (b"[Unit]\nConditionPathExists=/nowhere\n", 0o644),
            "/usr/bin/apt-get": (_NO_PACKAGES, 0o755),
            **{f"/var/lib/registry-stack/images/{one.name}": (one, 0o600) for one in archives},
        },
        systemd=True,
        docker=True,
    )


def _program() -> bytes:
    """The real coreos-cloudinit, if the one who runs the tests has it; else what stands in for it."""
    real = os.environ.get("REGISTRY_STACK_COREOS_CLOUDINIT")
    if real:
        return Path(real).read_bytes()
    return b"#!/usr/bin/python3\n" + Path(coreos_cloudinit.__file__).read_bytes()
