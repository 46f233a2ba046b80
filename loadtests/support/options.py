"""The command-line options that every scenario has."""

import argparse
from collections.abc import Sequence

from loadtests.support.thresholds import MAX_CLIENT_SHARE, Threshold
from registry_stack.deployment import DEFAULT_NAME
from registry_stack.errors import RegistryStackError


def add_options(
    parser: argparse.ArgumentParser, title: str, thresholds: Sequence[Threshold], group: bool = False
) -> None:
    """Add the common options, for a `group` the number of its hosts, and one for each threshold."""
    add = parser.add_argument_group(title).add_argument
    add("--name", default=DEFAULT_NAME, metavar="NAME", help="deployment to load, unless --host is given")
    add("--ca", default="", metavar="FILE", env_var="LOAD_CA", help="CA of --host")
    add("--images", default="", metavar="REPO:TAG,…", help="images to pull, the most popular first")
    add("--zipf", type=float, default=1.0, metavar="S", help="exponent of the images' popularity, 0 for equal shares")
    add("--own-mirror", action="store_true", help="deploy a temporary mirror with a fake upstream for this run")
    help_text = "template parameter of the temporary mirror, again for each"
    add("--parameter", action="append", default=[], metavar="NAME=VALUE", help=help_text)
    if group:
        help_text = "hosts of the temporary mirror; more than one are a group with a Swift"
        add("--hosts", type=int, default=1, metavar="N", help=help_text)
    add("--scale", type=float, default=1.0, metavar="F", help="multiply the sizes of generated images")
    add("--cold", action="store_true", help="do not pull every image once before the run")
    add("--summary", default="", metavar="FILE", help="write figures and verdicts as JSON")
    help_text = f"no verdict on a latency of which more was this client's own lateness [{MAX_CLIENT_SHARE:g}]"
    add("--max-client-share", type=float, default=MAX_CLIENT_SHARE, metavar="F", help=help_text)
    for one in thresholds:
        limit = "at most" if one.at_most else "at least"
        help_text = f"{one.what}, {limit} [{one.default:g}]"
        add(f"--{one.name}", type=float, default=one.default, metavar="N", help=help_text)


def parse_images(value: str, scenario: str, minimum: int) -> list[str]:
    """The images of --images; RegistryStackError when one is malformed or there are too few."""
    images = [image.strip() for image in value.split(",") if image.strip()]
    if images and len(images) < minimum:
        raise RegistryStackError(f"--images {value}: {scenario} needs at least {minimum}")
    if malformed := [image for image in images if not image.rpartition(":")[0]]:
        raise RegistryStackError(f"--images {malformed[0]}: write REPO:TAG, such as library/alpine:3.20")
    return images
