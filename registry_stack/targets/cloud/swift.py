"""Whether Swift takes what the registry will write, tried with the registry's own credentials."""

from collections.abc import Mapping
from typing import Any

import openstack
from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException

from registry_stack.product import TEMPLATE
from registry_stack.template.template import load_template
from registry_stack.userdata.render import placeholder_value

PROBE_OBJECT = ".preflight"


def swift_failure(connection: Connection, values: Mapping[str, Any], verify: str | bool) -> str | None:
    """Write an object as the registry's user and delete it again; one line naming the parameter when that fails."""
    user = values["os_username"]
    try:
        own = _as_registry_user(connection, values, verify)
        own.authorize()
    except (SDKException, ClientException) as error:
        return f'os_username, os_password: {values["os_authurl"]} refuses user "{user}": {error}'
    if not own.has_service("object-store"):
        return "storage_driver: this cloud has no Swift: use s3 or filesystem"
    try:
        _write_and_delete(own, values["swift_container"])
    except SDKException as error:
        return f'os_username: user "{user}" cannot write to the container "{values["swift_container"]}": {error}'
    return None


def keystone_url(values: Mapping[str, Any]) -> str:
    """Keystone's address as the template gives it to the host: version 3, whatever `os_authurl` ends in."""
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


def _write_and_delete(own: Connection, container: str) -> None:
    store = own.object_store
    known = {item.name for item in store.containers()}
    store.create_container(container)
    store.upload_object(container, PROBE_OBJECT, data=b"")
    store.delete_object(PROBE_OBJECT, container=container)
    if container not in known:
        store.delete_container(container)
