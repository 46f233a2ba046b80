"""The lab's container and its network on the Docker engine here."""

import ipaddress
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.docker.run_once import run_once
from registry_stack.errors import RegistryStackError
from registry_stack.lab import settings
from registry_stack.progress import ProgressCallback

# Of a container that may use them: QEMU's network interfaces, and KVM, of which only the lab itself can tell whether
# it works (lab-virt).
_DEVICES = ("/dev/net/tun", "/dev/kvm")
# With it, packets between a bridge's ports pass the packet filter, which is how Neutron makes security groups. Unlike
# the other modules that Neutron uses, it is not loaded by being used.
_BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"
_FOUND = f"for path in {' '.join(_DEVICES)} {_BRIDGE_FILTER}; do if [ -e $path ]; then echo $path; fi; done"
# Less than the 1024 of others: a lab that starts or boots a server would otherwise starve what runs beside it.
_CPU_SHARES = 512


def ensure_network(client: docker.DockerClient) -> None:
    """Make the lab's network unless it is there; say so clearly when its addresses are taken."""
    for network in client.networks.list():
        if network.name == settings.NAME:
            return
        _refuse_overlap(network)
    pool = IPAMPool(subnet=settings.SUBNET, gateway=settings.GATEWAY, iprange=settings.NEIGHBOURS)
    try:
        client.networks.create(
            settings.NAME, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels=settings.LABELS
        )
    except APIError as error:
        raise RegistryStackError(
            f"the lab needs the addresses {settings.SUBNET} for its network, and the engine refuses: "
            f"{error.explanation}: free them (see `ip route`)"
        ) from error


def _refuse_overlap(network: Any) -> None:
    """Raise when another Docker network has addresses of the lab's."""
    wanted = ipaddress.ip_network(settings.SUBNET)
    for pool in network.attrs.get("IPAM", {}).get("Config") or []:
        subnet = ipaddress.ip_network(pool.get("Subnet", "::/128"), strict=False)
        if subnet.version == wanted.version and subnet.overlaps(wanted):
            raise RegistryStackError(
                f"the lab needs the addresses {settings.SUBNET}, which the Docker network {network.name} has: "
                f"remove that one (`docker network rm {network.name}`)"
            )


def boot(client: docker.DockerClient, image: str, report: ProgressCallback, cpu_shares: int | None = None) -> Machine:
    """Boot the lab from one of its images; leave no container behind when that fails."""
    spec = MachineSpec(
        image=image,
        name=settings.NAME,
        hostname="lab",
        labels=settings.LABELS,
        network=settings.NAME,
        address=settings.ADDRESS,
        devices=_devices(client, image),
        cpu_shares=cpu_shares or _CPU_SHARES,
        systemd=True,
    )
    return Machine.boot(client, spec, report)


def _devices(client: docker.DockerClient, image: str) -> list[str]:
    """Which of the devices the machine of the engine has; raise when it lacks what a lab cannot do without."""
    output = run_once(
        client,
        image,
        ["-c", _FOUND],
        entrypoint=["/bin/sh"],
        volumes={"/dev": {"bind": "/dev", "mode": "ro"}},
        network_mode="none",
    )
    found = output.split()
    if _BRIDGE_FILTER not in found:
        raise RegistryStackError(
            "the lab's security groups need a kernel module that the Docker engine's machine has not loaded: "
            "run `modprobe br_netfilter` there, as root"
        )
    return [device for device in _DEVICES if device in found]


def remove_network(client: docker.DockerClient) -> bool:
    """Remove the lab's network, if it is there; containers that are not the lab's are named, not removed."""
    try:
        network = client.networks.get(settings.NAME)
    except NotFound:
        return False
    network.reload()
    others = ", ".join(sorted(str(container.name) for container in network.containers))
    if others:
        raise RegistryStackError(
            f"the network {settings.NAME} stays as other containers use it: remove {others}, then `lab down` again"
        )
    network.remove()
    return True
