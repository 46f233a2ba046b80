"""The mirror under test: a deployed one, one at a URL, or a temporary one that lives as long as the run."""

import base64
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from registry_stack.targets.local.options import LocalOptions
from registry_stack.template.environment import read_environment
from registry_stack.template.template import load_template

# The host pulls this image when it boots, which warms it: it is none of the images that are measured.
_CHECK = Recipe("library/check", "1", (0.01,))
# The most pulled images of Docker Hub; each is an index with several platforms.
HUB_IMAGES = tuple(recipe.name for recipe in POPULAR)


@dataclass(frozen=True)
class Mirror:
    """The mirror to load. `ca_file` is empty where the system's CAs are trusted.

    `deployment` is known for deployments made from here, and only those accept pushes from a scenario. `upstream` is
    its upstream where that is a fake one.
    """

    url: str
    ca_file: str
    images: tuple[str, ...]
    deployment: Deployment | None = None
    upstream: FakeUpstream | None = None

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
) -> Iterator[tuple[Mirror, list[Image]]]:
    """Deploy a mirror and a fake upstream that serves these images; remove both at the end.

    `parameters` are further template parameters as `name=value`.
    """
    client = engine(report)
    options = LocalOptions(name=f"{prefix}-{secrets.token_hex(3)}", mirror_port=None, registry_port=None)
    try:
        local.prepare_network(client, options)
        upstream = FakeUpstream.start(client, options.name, options.network, options.all_labels, report)
        upstream.add([_CHECK])
        images = upstream.add(recipes, report)
        given = [
            f"upstream_url={URL}",
            f"extra_ca_certificates={base64.b64encode(upstream.ca.encode()).decode()}",
            f"upstream_check_image={_CHECK.name}",
            "require_upstream=true",
            "domain=localdomain",
            *parameters,
        ]
        deployment = local.deploy(options, read_environment([], given), report)
        names = tuple(image.name for image in images)
        yield Mirror(deployment.mirror_url, deployment.ca_file, names, deployment, upstream), images
    finally:
        report(f"removing {options.name}")
        local.destroy(options.name)


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
