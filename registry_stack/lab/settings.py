"""What is fixed about the lab: names, addresses, what it needs.

The address stands in Keystone's catalog inside the image, so it cannot be chosen when the lab is brought up. Docker
itself never takes it: its default pools are 172.17.0.0 to 172.31.255.255 and 192.168.0.0/16.
"""

from registry_stack.deployment import State
from registry_stack.docker.machine import PROJECT, PROJECT_LABEL

NAME = "registry-lab"
# What stacks on it are remembered as.
TARGET = "lab"
LABEL = "org.registry-stack.lab"
LABELS = {PROJECT_LABEL: PROJECT, LABEL: NAME}

SUBNET = "10.77.30.0/24"
GATEWAY = "10.77.30.1"
# Docker gives addresses to neighbours from here; the lab's own is below .10's, and floating IPs are above .128
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

# Registry of the container images a server is made of, and the upstream its mirror caches: one and the same.
IMAGES = f"{NAME}-images"

# Measured: 3.3 GiB with nothing running, and 2.3 GiB for a server of the flavor above, emulated.
MEMORY_MIB = 6 * 1024
VOLUMES_MIB = 512
DISK_BUILD_GIB = 12
DISK_GIB = 5


def auth(user: str, password: str) -> dict[str, str]:
    """What Keystone wants to know of a user, in the project of the same name, as clouds.yaml names it."""
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
