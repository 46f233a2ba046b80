"""The lab's constants: names, addresses, requirements.

The address is in Keystone's catalog inside the image, so it cannot be chosen at start-up. Docker's default pools,
172.17.0.0 to 172.31.255.255 and 192.168.0.0/16, do not contain it.
"""

from registry_stack.deployment import State
from registry_stack.docker.machine import PROJECT, PROJECT_LABEL

NAME = "registry-lab"
# The target of the deployments on it.
TARGET = "lab"
LABEL = "org.registry-stack.lab"
LABELS = {PROJECT_LABEL: PROJECT, LABEL: NAME}

SUBNET = "10.77.30.0/24"
GATEWAY = "10.77.30.1"
# Docker gives other containers addresses from here. The lab itself has .10, floating IPs are above .128
# (registry_stack/images/lab/files/seed).
NEIGHBOURS = "10.77.30.64/26"
ADDRESS = "10.77.30.10"

CLOUD = NAME
REGION = "RegionOne"
KEYSTONE = f"http://{ADDRESS}:5000/v3"
# Made by registry_stack/images/lab/files/seed.
OPERATOR = "registry"
ZONE = "lab.test."
SERVER_IMAGE = "debian-13"
FLAVOR = "registry.small"
KEY_PAIR = "registry-lab"
EXTERNAL_NETWORK = "public"
SSH_USER = "debian"

# The registry with the container images that a server runs, which is also its mirror's upstream.
IMAGES = f"{NAME}-images"

# Measured: 3.3 GiB without a server, and 2.3 GiB for an emulated server of the flavor above.
MEMORY_MIB = 6 * 1024
# What --volumes needs besides, and --load-balancers.
ADDED_MIB = 512
DISK_BUILD_GIB = 12
DISK_GIB = 5


def auth(user: str, password: str) -> dict[str, str]:
    """The `auth` of clouds.yaml for a user in the project of the same name."""
    return {
        "auth_url": KEYSTONE,
        "username": user,
        "password": password,
        "project_name": user,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }


def state() -> State:
    """The lab's folder among the deployments: credentials and keys, readable by their owner only."""
    return State("lab")
