"""What is written down twice, because it must stand in an image and be known here, is the same."""

import ipaddress
import re

from registry_stack.images.build import FOLDER
from registry_stack.lab import settings


def test_the_images_know_the_address_of_the_lab() -> None:
    dockerfile = (FOLDER / "lab" / "Dockerfile").read_text()
    assert re.findall(r"^ENV LAB_ADDRESS=(\S+)$", dockerfile, re.MULTILINE) == [settings.ADDRESS]
    assert settings.SUBNET in (FOLDER / "guest" / "files" / "daemon.json").read_text()


def test_the_seed_makes_what_the_parameters_name() -> None:
    seed = (FOLDER / "lab" / "files" / "seed").read_text()
    names = (
        settings.OPERATOR,
        settings.ZONE,
        settings.SERVER_IMAGE,
        settings.FLAVOR,
        settings.KEY_PAIR,
        settings.EXTERNAL_NETWORK,
    )
    for name in names:
        assert f'"{name}"' in seed, name


def test_nobody_else_gets_the_address_of_the_lab() -> None:
    neighbours, network = ipaddress.ip_network(settings.NEIGHBOURS), ipaddress.ip_network(settings.SUBNET)
    assert neighbours.subnet_of(network)  # type: ignore[arg-type]
    assert ipaddress.ip_address(settings.ADDRESS) not in neighbours
    floating = ipaddress.ip_address(int(network.network_address) + 128)
    assert floating not in neighbours
