"""The mirror under test: a deployed one, one at a URL, or a temporary one that lives as long as the run."""

import base64
import random
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import requests

from loadtests.support.fake_upstream import URL, FakeUpstream
from loadtests.support.images import POPULAR, Image, Recipe
from loadtests.support.registry.media_types import ACCEPT
from loadtests.support.registry.protocol import manifest_path
from registry_stack.deployment import Deployment, State, current
from registry_stack.docker.engine import engine
from registry_stack.errors import RegistryStackError
from registry_stack.product import TEMPLATE
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import MOST_HOSTS, LocalOptions
from registry_stack.template.environment import Environment, read_environment
from registry_stack.template.template import load_template

# The host pulls this image when it boots, which warms it: it is none of the images that are measured.
_CHECK = Recipe("library/check", "1", (0.01,))
# The most pulled images of Docker Hub; each is an index with several platforms.
HUB_IMAGES = tuple(recipe.name for recipe in POPULAR)


@dataclass(frozen=True)
class Mirror:
    """The mirror to load. `ca_file` is empty where the system's CAs are trusted.

    `deployment` is known for deployments made from here, and only those accept pushes from a scenario. `upstream` is
    its upstream where that is a fake one. `options` and `parameters` are those that a temporary one was
    deployed with.
    """

    url: str
    ca_file: str
    images: tuple[str, ...]
    deployment: Deployment | None = None
    upstream: FakeUpstream | None = None
    options: LocalOptions | None = None
    parameters: Sequence[str] = ()

    @property
    def urls(self) -> list[str]:
        """The mirror's URLs: of a group, that of each member."""
        return self.deployment.mirror_urls if self.deployment else [self.url]

    @property
    def registry_urls(self) -> list[str]:
        """The same of the registry, of a mirror that was deployed from here."""
        known = self.deployment
        if known is None:
            return []
        alone = known.load_balancer or not known.members
        return [known.registry_url] if alone else [one.registry_url for one in known.members]

    def probe(self, reference: str) -> str | None:
        """None when it has a manifest for `repo:tag`, else why not."""
        repo, _colon, tag = reference.rpartition(":")
        try:
            url = f"{self.url}{manifest_path(repo, tag)}"
            answer = requests.get(url, headers={"Accept": ACCEPT}, verify=self.ca_file or True, timeout=30)
        except requests.RequestException as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.status_code == 200 else f"HTTP {answer.status_code}: {answer.text[:200].strip()}"


def find_mirror(host: str, ca: str, name: str, images: Sequence[str], check: bool = True) -> Mirror:
    """The mirror at the URL `host`, or the deployment `name`. Without `images` (`repo:tag`), the usual ones.

    Raises RegistryStackError when it does not exist or, with `check`, cannot serve any of the images.
    """
    if ca and not Path(ca).is_file():
        raise RegistryStackError(f"--ca {ca}: no such file")
    mirror = _at_url(host, ca, images) if host else _deployed(name, ca, images)
    if not check:
        return mirror
    failures = {image: mirror.probe(image) for image in mirror.images}
    usable = tuple(image for image, failure in failures.items() if failure is None)
    if not usable:
        first = mirror.images[0]
        raise RegistryStackError(f"the mirror {mirror.url} cannot pull {first}: {failures[first]} (see --images, --ca)")
    return replace(mirror, images=usable)


@contextmanager
def temporary_mirror(
    recipes: Sequence[Recipe],
    parameters: Sequence[str] = (),
    report: ProgressCallback = no_progress,
    prefix: str = "load",
    hosts: int = 1,
    swift: bool = False,
) -> Iterator[tuple[Mirror, list[Image]]]:
    """Deploy a mirror and a fake upstream that serves these images; remove both at the end.

    `parameters` are further template parameters as `name=value`. More than one of the `hosts` are a group with a Swift.
    """
    client = engine(report)
    options = _temporary_options(f"{prefix}-{secrets.token_hex(3)}", hosts, swift or hosts > 1)
    try:
        local.prepare_network(client, options)
        upstream = FakeUpstream.start(client, options.name, options.network, options.all_labels, report)
        upstream.add([_CHECK])
        images = upstream.add(recipes, report)
        deployment = local.deploy(options, _temporary_environment(upstream, parameters), report)
        names = tuple(image.name for image in images)
        reached = deployment.mirror_url, deployment.ca_file
        yield Mirror(*reached, names, deployment, upstream, options, tuple(parameters)), images
    finally:
        report(f"removing {options.name}")
        local.destroy(options.name)


def redeploy(
    mirror: Mirror, options: LocalOptions, parameters: Sequence[str], report: ProgressCallback = no_progress
) -> Mirror:
    """Deploy a temporary mirror again, as `temporary_mirror` did, with other options or parameters."""
    assert mirror.upstream is not None
    deployment = local.deploy(options, _temporary_environment(mirror.upstream, parameters), report)
    return replace(mirror, deployment=deployment, options=options, parameters=tuple(parameters))


def _temporary_options(name: str, hosts: int, swift: bool) -> LocalOptions:
    """Any free ports; those of a group stay the same when a host is killed and started again."""
    if hosts == 1:
        return LocalOptions(name=name, mirror_port=None, registry_port=None, swift=swift)
    first = _free_ports(2 * MOST_HOSTS)
    return LocalOptions(name=name, mirror_port=first, registry_port=first + MOST_HOSTS, swift=swift, hosts=hosts)


def _temporary_environment(upstream: FakeUpstream, parameters: Sequence[str] = ()) -> Environment:
    """The parameters of a mirror of this upstream."""
    given = [
        f"upstream_url={URL}",
        f"extra_ca_certificates={base64.b64encode(upstream.ca.encode()).decode()}",
        f"upstream_check_image={_CHECK.name}",
        "require_upstream=true",
        "domain=localdomain",
        *parameters,
    ]
    return read_environment([], given)


def _free_ports(count: int) -> int:
    """The first of so many free ports in a row, below those that Linux picks by itself."""
    for first in random.sample(range(20_000, 32_000, count), 100):
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise RegistryStackError(f"there are no {count} free ports in a row between 20000 and 32000")


def has_fake_upstream(name: str) -> bool:
    """Whether the local deployment of that name has a fake upstream, which is always reachable."""
    return FakeUpstream.find(engine(), name) is not None


def supported_parameters(parameters: Sequence[str]) -> list[str]:
    """Those of the `name=value` parameters that this version of the template has."""
    names = load_template(TEMPLATE).parameters
    return [parameter for parameter in parameters if parameter.partition("=")[0] in names]


def _at_url(host: str, ca: str, images: Sequence[str]) -> Mirror:
    """The mirror at a URL; if it was deployed from here, with its CA."""
    url = host.rstrip("/")
    known = State("docker_registry").load()
    deployment = known if known is not None and known.mirror_url == url else None
    return Mirror(url, ca or (deployment.ca_file if deployment else ""), tuple(images or HUB_IMAGES), deployment)


def _deployed(name: str, ca: str, images: Sequence[str]) -> Mirror:
    deployment = current(name)
    upstream = FakeUpstream.find(engine(), name) if deployment.target == "local" else None
    fake_images = tuple(image for image in upstream.images() if image != _CHECK.name) if upstream else ()
    chosen = tuple(images) or fake_images or HUB_IMAGES
    return Mirror(deployment.mirror_url, ca or deployment.ca_file, chosen, deployment, upstream)
