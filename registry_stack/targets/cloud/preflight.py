"""Questions to a cloud before anything is created on it: does all exist that the parameters name, and suffice?"""

import base64
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
import openstack
from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException

from registry_stack.errors import RegistryStackError
from registry_stack.product import TEMPLATE
from registry_stack.targets.cloud.s3 import s3_objection
from registry_stack.template.template import load_template
from registry_stack.userdata.render import placeholder_value

MEMORY_MB = 1024
# What the stack asks of each quota; volumes and their gigabytes only with a cache volume.
PROBE_OBJECT = ".preflight"

Check = Callable[[Connection, Mapping[str, Any]], str | None]


def preflight(connection: Connection, values: Mapping[str, Any], *, new: bool = True) -> list[str]:
    """Every objection, one line each, naming the parameter; none when the stack can be created.

    `new` False leaves out the quotas, which an existing stack has taken its part of already.
    """
    checks = [*_CHECKS, *(_QUOTAS if new else [])]
    return [objection for check in checks if (objection := _ask(check, connection, values))]


def raise_on_failure(objections: list[str]) -> None:
    """Raise RegistryStackError with all of them."""
    if objections:
        raise RegistryStackError("this cloud cannot have the stack:\n" + "\n".join(f"  {line}" for line in objections))


def _ask(check: Check, connection: Connection, values: Mapping[str, Any]) -> str | None:
    """A service that is not there or fails is an objection like any other."""
    try:
        return check(connection, values)
    except RegistryStackError as error:
        return str(error)
    except (SDKException, ClientException) as error:
        return f"{check.__name__.strip('_')}: the cloud does not answer this question: {error}"


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
    """It has the memory, and the disk that the image needs."""
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
    """The registry's own user can write to its container. What is made to find out is removed."""
    if values["storage_driver"] != "swift":
        return None
    user = values["os_username"]
    with trusted(values) as verify:
        try:
            own = _as_registry_user(connection, values, verify)
            own.authorize()
        except (SDKException, ClientException) as error:
            return f'os_username, os_password: {values["os_authurl"]} refuses user "{user}": {error}'
        if not own.has_service("object-store"):
            return "storage_driver: this cloud has no Swift: use s3 or filesystem"
        try:
            _write_and_remove(own, values["swift_container"])
        except SDKException as error:
            return f'os_username: user "{user}" cannot write to the container "{values["swift_container"]}": {error}'
    return None


def _s3(_connection: Connection, values: Mapping[str, Any]) -> str | None:
    """The registry's own keys can write to its bucket."""
    if values["storage_driver"] != "s3":
        return None
    with trusted(values) as verify:
        return s3_objection(values, verify)


@contextmanager
def trusted(values: Mapping[str, Any]) -> Iterator[str | bool]:
    """A requests `verify`: with extra_ca_certificates, a file of the usual CA certificates and those."""
    try:
        extra = base64.b64decode(values["extra_ca_certificates"], validate=True).strip()
    except ValueError as error:
        raise RegistryStackError(f"extra_ca_certificates: not base64: {error} (base64 -w0 FILE)") from error
    if not extra:
        yield True
        return
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(Path(certifi.where()).read_bytes() + b"\n" + extra + b"\n")
        file.flush()
        yield file.name


def keystone_url(values: Mapping[str, Any]) -> str:
    """The address that the host will use, by the template's own rule: version 3, whatever `os_authurl` ends in."""
    url: str = placeholder_value(load_template(TEMPLATE), values, {}, "@@OS_AUTHURL@@")
    return url


def _as_registry_user(connection: Connection, values: Mapping[str, Any], verify: str | bool) -> Connection:
    project: dict[str, Any] = {"project_id": connection.current_project_id}
    if values["os_project_name"]:
        project = {
            "project_name": values["os_project_name"],
            "project_domain_name": values["os_project_domain_name"],
        }
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_url=keystone_url(values),
        username=values["os_username"],
        password=values["os_password"],
        user_domain_name=values["os_user_domain_name"],
        region_name=values["os_region"],
        cacert=verify if isinstance(verify, str) else None,
        **project,
    )


def _write_and_remove(own: Connection, container: str) -> None:
    store = own.object_store
    known = {item.name for item in store.containers()}
    store.create_container(container)
    store.upload_object(container, PROBE_OBJECT, data=b"")
    store.delete_object(PROBE_OBJECT, container=container)
    if container not in known:
        store.delete_container(container)


def _servers(connection: Connection, _values: Mapping[str, Any]) -> str | None:
    limits = connection.compute.get_limits().absolute
    left = limits.instances - limits.instances_used if limits.instances >= 0 else 1
    return None if left >= 1 else f"quota: no server left of {limits.instances} (openstack quota show)"


def _network_quota(connection: Connection, values: Mapping[str, Any]) -> str | None:
    """A port and a floating IP; with a network of its own also that."""
    quota = connection.network.get_quota(str(connection.current_project_id), details=True)
    wanted = {"floating_ips": 1, "ports": 1, "security_groups": 1}
    if not values["network"]:
        wanted |= {"networks": 1, "routers": 1, "ports": 3}
    short = [name for name, number in wanted.items() if _left(getattr(quota, name)) < number]
    return f"quota: not enough {', '.join(short).replace('_', ' ')} left (openstack quota show)" if short else None


def _left(usage: Mapping[str, int]) -> float:
    limit = usage["limit"]
    return float("inf") if limit < 0 else limit - usage["used"] - usage["reserved"]


def _volumes(connection: Connection, values: Mapping[str, Any]) -> str | None:
    size = int(values["cache_volume_size"])
    if not size:
        return None
    if not connection.has_service("block-storage") and not connection.has_service("volumev3"):
        return f"cache_volume_size: this cloud has no Cinder: use 0 instead of {size}"
    limits = connection.block_storage.get_limits().absolute
    gigabytes = limits.max_total_volume_gigabytes - limits.total_gigabytes_used
    if limits.max_total_volume_gigabytes >= 0 and gigabytes < size:
        return f"cache_volume_size: {gigabytes} GB left of the quota, {size} are wanted (openstack quota show)"
    return None


_CHECKS: list[Check] = [_key_pair, _image, _flavor, _external_network, _network, _dns_zone, _swift, _s3]
_QUOTAS: list[Check] = [_servers, _network_quota, _volumes]
