"""What makes hosts of a local deployment a group: addresses at which they reach each other, one name, one CA."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import docker
from docker.errors import APIError
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from registry_stack.authority import authority_parameters
from registry_stack.deployment import State
from registry_stack.errors import RegistryStackError
from registry_stack.targets.local.options import LocalOptions

_TRIES = 5


def refuse_unshared_storage(options: LocalOptions, values: Mapping[str, Any]) -> None:
    """Raise RegistryStackError when what is pushed to one host of a group would not be on the others."""
    if options.hosts > 1 and values["storage_driver"] == "filesystem":
        raise RegistryStackError(
            f"--hosts {options.hosts}: the hosts of a group share the pushed images, so they cannot be on a host's own "
            "disk: add --swift, or -P storage_driver=swift or s3 with its parameters"
        )


def prepare_peers(client: docker.DockerClient, options: LocalOptions) -> list[str]:
    """The addresses of all hosts on the network of the group, which is made when it is not there."""
    found = client.networks.list(names=[f"^{options.peers}$"])
    network = found[0] if found else _make_network(client, options)
    subnet = ipaddress.ip_network(_subnet(network))
    # The first is the gateway's.
    return [str(subnet.network_address + 2 + number) for number in range(options.hosts)]


def remove_peers(client: docker.DockerClient, options: LocalOptions) -> None:
    """Remove the network of a group that is none any more."""
    for network in client.networks.list(names=[f"^{options.peers}$"]):
        network.remove()


def member_values(
    options: LocalOptions, values: Mapping[str, Any], addresses: Sequence[str], state: State
) -> dict[str, Any]:
    """The parameters that make a host the member that its options say; the user's own CA or certificate stays."""
    shared = str(values["hostname"])
    own = {name: values[name] for name in ("ca_certificate", "ca_certificate_key")}
    if not any(own.values()) and not values["server_certificate"]:
        own = authority_parameters(state)
    return {
        **own,
        "hostname": f"{shared}-{options.number}",
        "shared_hostname": shared,
        "group_members": ",".join(addresses),
        "group_member": options.number,
        "group_secret": values["group_secret"] or state.secret("group-secret"),
    }


def _subnet(network: Network) -> str:
    return str(network.attrs["IPAM"]["Config"][0]["Subnet"])


def _make_network(client: docker.DockerClient, options: LocalOptions) -> Network:
    """Addresses stay only where the subnet was asked for: ask for the one that Docker picks."""
    for left in reversed(range(_TRIES)):
        picked = _create(client, options, None)
        subnet = _subnet(picked)
        picked.remove()
        try:
            return _create(client, options, subnet)
        except APIError:
            # Somebody else may just have got it.
            if not left:
                raise
    raise AssertionError


def _create(client: docker.DockerClient, options: LocalOptions, subnet: str | None) -> Network:
    """Without a way out: the hosts have that on the network that they share with their clients."""
    network = client.networks.create(
        options.peers,
        driver="bridge",
        internal=True,
        labels=dict(options.all_labels),
        ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]) if subnet else None,
    )
    network.reload()
    return network
