"""Connections to a cloud: named in clouds.yaml, or described by OS_* variables."""

import base64
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
import openstack
from heatclient.client import Client
from keystoneauth1 import exceptions as keystone
from openstack.config import OpenStackConfig
from openstack.connection import Connection
from openstack.exceptions import ConfigException, SDKException

from registry_stack.errors import RegistryStackError

_API_TIMEOUT_S = 60
# It warns of each failure that it is about to retry; what fails in the end is an error of ours.
logging.getLogger("keystoneauth.session").setLevel(logging.ERROR)


def connect(cloud: str | None, clouds_file: Path | None = None) -> Connection:
    """A connection with a token.

    `cloud` None means OS_CLOUD or the OS_* variables; `clouds_file` replaces the usual clouds.yaml. Raises
    RegistryStackError: no such cloud, no address, refused, unreachable.
    """
    try:
        config = OpenStackConfig(config_files=[str(clouds_file)]) if clouds_file else OpenStackConfig()
        region = config.get_one(cloud=cloud, api_timeout=_API_TIMEOUT_S)
        connection = openstack.connection.Connection(config=region)
        connection.authorize()
    except ConfigException as error:
        raise RegistryStackError(f"no cloud to deploy to: {error} (name one with --os-cloud or OS_CLOUD)") from error
    except (keystone.Unauthorized, keystone.MissingRequiredOptions, keystone.MissingAuthPlugin) as error:
        raise RegistryStackError(f"{_where(cloud)}: Keystone refuses the credentials: {error}") from error
    except (keystone.ClientException, SDKException) as error:
        raise RegistryStackError(f"{_where(cloud)}: Keystone cannot be used: {error}") from error
    return connection


def heat(connection: Connection) -> Any:
    """python-heatclient with the connection's session."""
    region = connection.config.get_region_name()
    return Client(
        "1",
        session=connection.session,
        region_name=region,
        interface=connection.config.get_interface(),
        # The server may have closed a connection that was kept open for the next request.
        connect_retries=2,
    )


@contextmanager
def ca_bundle(values: Mapping[str, Any]) -> Iterator[str | bool]:
    """The value of requests' `verify`: with extra_ca_certificates a file of those and the usual CA certificates."""
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


def _where(cloud: str | None) -> str:
    return f'cloud "{cloud}"' if cloud else "the cloud in OS_*"
