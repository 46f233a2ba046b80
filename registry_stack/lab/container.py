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

# Passed through where the Docker host has them: tun for QEMU's network interfaces, kvm for speed, if the lab finds that
# it works (lab-virt).
_DEVICES = ("/dev/net/tun", "/dev/kvm")
# It passes packets between a bridge's ports through the packet filter, where Neutron implements security groups. Unlike
# the other kernel modules that Neutron uses, this one is not loaded on demand.
_BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"
_FOUND = f"for path in {' '.join(_DEVICES)} {_BRIDGE_FILTER}; do if [ -e $path ]; then echo $path; fi; done"
# Below the default of 1024: a lab that starts, or boots a server, would otherwise starve its neighbours.
_CPU_SHARES = 512


def ensure_network(client: docker.DockerClient) -> None:
    """Create the lab's network unless it exists; raise RegistryStackError when its addresses are taken."""
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
            f"the lab's network needs the addresses {settings.SUBNET}, and Docker refuses them: "
            f"{error.explanation}: free them (see `ip route`)"
        ) from error


def _refuse_overlap(network: Any) -> None:
    """Raise RegistryStackError when another Docker network uses some of the lab's addresses."""
    wanted = ipaddress.ip_network(settings.SUBNET)
    for pool in network.attrs.get("IPAM", {}).get("Config") or []:
        subnet = ipaddress.ip_network(pool.get("Subnet", "::/128"), strict=False)
        if subnet.version == wanted.version and subnet.overlaps(wanted):
            raise RegistryStackError(
                f"the lab's network needs the addresses {settings.SUBNET}, which Docker network {network.name} uses: "
                f"remove that one (`docker network rm {network.name}`)"
            )


def boot(client: docker.DockerClient, image: str, report: ProgressCallback, cpu_shares: int | None = None) -> Machine:
    """Boot the lab from one of its images; a container that fails to boot is removed."""
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
    """The devices that the Docker host has; raises RegistryStackError when the packet filter for bridges is missing."""
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
            "the lab's security groups need a kernel module that the Docker host has not loaded: "
            "run `modprobe br_netfilter` there, as root"
        )
    return [device for device in _DEVICES if device in found]


def remove_network(client: docker.DockerClient) -> bool:
    """Remove the lab's network, if it exists; raises RegistryStackError when other containers use it."""
    try:
        network = client.networks.get(settings.NAME)
    except NotFound:
        return False
    network.reload()
    others = ", ".join(sorted(str(container.name) for container in network.containers))
    if others:
        raise RegistryStackError(
            f"other containers use the network {settings.NAME}: remove {others}, then run `lab down` again"
        )
    network.remove()
    return True
