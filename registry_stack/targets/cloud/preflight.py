"""Preflight checks: does everything exist that the parameters name, and is there enough quota?"""

from collections.abc import Callable, Mapping
from typing import Any

from heatclient.exc import HTTPException
from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException

from registry_stack.errors import RegistryStackError
from registry_stack.product import TEMPLATE
from registry_stack.targets.cloud.connection import ca_bundle, heat
from registry_stack.targets.cloud.s3 import s3_failure
from registry_stack.targets.cloud.swift import swift_failure
from registry_stack.template.template import load_template
from registry_stack.userdata.render import check_size, longest_references, render_user_data

MEMORY_MB = 1024

Check = Callable[[Connection, Mapping[str, Any]], str | None]


def preflight(connection: Connection, values: Mapping[str, Any], *, new: bool = True) -> list[str]:
    """Every failure, one line each, naming the parameter; none when the stack can be created.

    `values` are those of a host; of a group, `count` and `load_balancer` come with them.
    `new` False leaves out the quotas, whose share an existing stack has already taken.
    """
    checks = [*_CHECKS, *(_QUOTAS if new else [])]
    return [failure for check in checks if (failure := _run(check, connection, values))]


def raise_on_failure(failures: list[str]) -> None:
    """Raise RegistryStackError with all of them."""
    if failures:
        raise RegistryStackError("preflight failed:\n" + "\n".join(f"  {line}" for line in failures))


def _run(check: Check, connection: Connection, values: Mapping[str, Any]) -> str | None:
    """A service that is missing or fails is a failure like any other."""
    try:
        return check(connection, values)
    except RegistryStackError as error:
        return str(error)
    except (SDKException, ClientException) as error:
        return f"{check.__name__.strip('_')}: the cloud does not answer: {error}"


def _key_pair(connection: Connection, values: Mapping[str, Any]) -> str | None:
    name = values["server_key"]
    found = connection.compute.find_keypair(name)
    return None if found else f'server_key: no key pair "{name}" (openstack keypair list)'


def _image(connection: Connection, values: Mapping[str, Any]) -> str | None:
    name = values["server_image"]
    found = connection.image.find_image(name)
    if found is None:
        return f'server_image: no image "{name}" (openstack image list)'
    return None if found.status == "active" else f'server_image: "{name}" is {found.status}, not active'


def _flavor(connection: Connection, values: Mapping[str, Any]) -> str | None:
    """It exists, and has the memory and the disk that the image needs."""
    flavor = connection.compute.find_flavor(values["server_flavor"])
    if flavor is None:
        return f'server_flavor: no flavor "{values["server_flavor"]}" (openstack flavor list)'
    image = connection.image.find_image(values["server_image"])
    memory = max(MEMORY_MB, (image.min_ram or 0) if image else 0)
    if flavor.ram < memory:
        return f'server_flavor: "{flavor.name}" has {flavor.ram} MB of memory, {memory} are needed'
    if image and 0 < flavor.disk < (image.min_disk or 0):
        return f'server_flavor: "{flavor.name}" has {flavor.disk} GB of disk, the image needs {image.min_disk}'
    return None


def _external_network(connection: Connection, values: Mapping[str, Any]) -> str | None:
    name = values["fip_network"]
    found = connection.network.find_network(name)
    if found is None:
        return f'fip_network: no network "{name}" (openstack network list --external)'
    if not found.is_router_external:
        return f'fip_network: "{name}" is not external, so it has no floating IPs (openstack network list --external)'
    return None


def _network(connection: Connection, values: Mapping[str, Any]) -> str | None:
    name = values["network"]
    if not name or connection.network.find_network(name):
        return None
    return f'network: no network "{name}" (openstack network list)'


def _dns_zone(connection: Connection, values: Mapping[str, Any]) -> str | None:
    zone = values["dns_zone"]
    if not zone:
        return None
    if not connection.has_service("dns"):
        return f'dns_zone: this cloud has no DNS service: leave it empty instead of "{zone}"'
    if connection.dns.find_zone(zone) is None:
        return f'dns_zone: no zone "{zone}" (openstack zone list)'
    full_name = f"{values['hostname']}.{values['domain']}."
    return None if full_name.endswith(f".{zone}") else f'dns_zone: {full_name} is not in the zone "{zone}": see domain'


def _swift(connection: Connection, values: Mapping[str, Any]) -> str | None:
    """The registry's own user can write to its container."""
    if values["storage_driver"] != "swift":
        return None
    with ca_bundle(values) as verify:
        return swift_failure(connection, values, verify)


def _s3(_connection: Connection, values: Mapping[str, Any]) -> str | None:
    """The registry's own keys can write to its bucket."""
    if values["storage_driver"] != "s3":
        return None
    with ca_bundle(values) as verify:
        return s3_failure(values, verify)


def _settings_transport(connection: Connection, values: Mapping[str, Any]) -> str | None:
    """Heat has what brings the settings, and lets this project use it."""
    if values["settings_transport"] != "heat":
        if values["ca_certificate_key"] and not values["server_certificate"]:
            return "ca_certificate_key: user-data has no room for what it needs: use heat as settings_transport"
        return None
    for resource_type in ("OS::Heat::DeployedServer", "OS::Heat::SoftwareDeployment"):
        try:
            heat(connection).resource_types.get(resource_type)
        except HTTPException as error:
            if error.code not in (403, 404):
                return f"settings_transport: Heat does not answer: HTTP {error.code}"
            return f"settings_transport: this cloud's Heat has no {resource_type}: use user_data instead of heat"
    return None


def user_data_fits(connection: Connection, values: Mapping[str, Any]) -> str | None:
    """Refuse what Nova would not take."""
    template = load_template(TEMPLATE)
    known = {"OS::project_id": connection.current_project_id, **values}
    check_size(render_user_data(template, known, longest_references(template)), known)
    return None


def _load_balancer(connection: Connection, values: Mapping[str, Any]) -> str | None:
    wanted = values.get("load_balancer")
    if wanted == "octavia" and not connection.has_service("load-balancer"):
        return "load_balancer: this cloud has no Octavia: use vip or none instead of octavia"
    if wanted == "vip" and connection.network.find_extension("allowed-address-pairs") is None:
        return "load_balancer: ports of this cloud's Neutron allow no other address: use none instead of vip"
    return None


def _hosts(values: Mapping[str, Any]) -> int:
    return int(values.get("count", 1))


def _servers(connection: Connection, values: Mapping[str, Any]) -> str | None:
    limits, wanted = connection.compute.get_limits().absolute, _hosts(values)
    left = limits.instances - limits.instances_used if limits.instances >= 0 else wanted
    if left >= wanted:
        return None
    return f"quota: {max(left, 0) or 'no'} server left of {limits.instances}, {wanted} needed (openstack quota show)"


def _network_quota(connection: Connection, values: Mapping[str, Any]) -> str | None:
    """A port and a floating IP for each host and a load balancer; without an existing network, its share as well."""
    quota = connection.network.get_quota(str(connection.current_project_id), details=True)
    hosts, balancer = _hosts(values), int(values.get("load_balancer") in ("octavia", "vip"))
    wanted = {"floating_ips": hosts + balancer, "ports": hosts + balancer, "security_groups": 1}
    if not values["network"]:
        wanted |= {"networks": 1, "routers": 1, "ports": wanted["ports"] + 2}
    short = [name for name, number in wanted.items() if _left(getattr(quota, name)) < number]
    return f"quota: not enough {', '.join(short).replace('_', ' ')} left (openstack quota show)" if short else None


def _left(usage: Mapping[str, int]) -> float:
    limit = usage["limit"]
    return float("inf") if limit < 0 else limit - usage["used"] - usage["reserved"]


def _volumes(connection: Connection, values: Mapping[str, Any]) -> str | None:
    size = int(values["cache_volume_size"]) * _hosts(values)
    if not size:
        return None
    if not connection.has_service("block-storage") and not connection.has_service("volumev3"):
        return f"cache_volume_size: this cloud has no Cinder: use 0 instead of {size}"
    limits = connection.block_storage.get_limits().absolute
    gigabytes = limits.max_total_volume_gigabytes - limits.total_gigabytes_used
    if limits.max_total_volume_gigabytes >= 0 and gigabytes < size:
        return f"cache_volume_size: {gigabytes} GB left of the quota, {size} are needed (openstack quota show)"
    return None


_CHECKS: list[Check] = [
    _key_pair,
    _image,
    _flavor,
    _external_network,
    _network,
    _dns_zone,
    _settings_transport,
    _load_balancer,
    user_data_fits,
    _swift,
    _s3,
]
_QUOTAS: list[Check] = [_servers, _network_quota, _volumes]
