"""The lab's credentials, as files that the other commands read, in the lab's state folder, for their owner only."""

from pathlib import Path
from typing import Any

import yaml

from registry_stack.docker.machine import Machine
from registry_stack.lab import settings

CLOUDS, OPENRC, SSH_KEY, ENVIRONMENT = "clouds.yaml", "openrc", "id_ed25519", "env.yaml"


def write(machine: Machine, image_parameters: dict[str, str]) -> Path:
    """Write clouds.yaml, openrc, the SSH key, and an environment file for heat/registry.yaml; return their folder."""
    state = settings.state()
    password = machine.read("/etc/lab/password").decode()
    clouds = {settings.CLOUD: _cloud(settings.OPERATOR, password), f"{settings.CLOUD}-admin": _cloud("admin", password)}
    state.write(CLOUDS, yaml.safe_dump({"clouds": clouds}, sort_keys=False))
    state.write(OPENRC, openrc(settings.OPERATOR, password))
    state.write(SSH_KEY, machine.read("/etc/lab/id_ed25519"))
    parameters = template_parameters(password) | image_parameters
    state.write(ENVIRONMENT, yaml.safe_dump({"parameters": parameters}, sort_keys=False))
    return state.folder


def openrc(user: str, password: str) -> str:
    """The environment variables for a shell, derived from the same settings as clouds.yaml."""
    variables = {f"OS_{name.upper()}": value for name, value in settings.auth(user, password).items()}
    variables |= {"OS_REGION_NAME": settings.REGION, "OS_IDENTITY_API_VERSION": "3"}
    # OS_CLOUD would win over these.
    return "unset OS_CLOUD\n" + "".join(f"export {name}={value}\n" for name, value in variables.items())


def template_parameters(password: str) -> dict[str, Any]:
    """Parameters of heat/registry.yaml that match the seed: the ten required ones, and DNS."""
    return {
        "hostname": "registry",
        "domain": settings.ZONE.rstrip("."),
        "server_key": settings.KEY_PAIR,
        "server_flavor": settings.FLAVOR,
        "server_image": settings.SERVER_IMAGE,
        "fip_network": settings.EXTERNAL_NETWORK,
        "os_username": settings.OPERATOR,
        "os_password": password,
        "os_region": settings.REGION,
        "os_authurl": settings.KEYSTONE,
        "dns_zone": settings.ZONE,
        "dns_nameservers": [settings.ADDRESS],
    }


def _cloud(user: str, password: str) -> dict[str, Any]:
    return {
        "auth": settings.auth(user, password),
        "region_name": settings.REGION,
        "identity_api_version": 3,
    }
