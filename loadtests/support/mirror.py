"""The mirror under test: the one that is deployed, one somewhere else, or one of our own for the run."""

import base64
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from loadtests.support.fake_upstream import URL, FakeUpstream
from loadtests.support.images import ACCEPT, POPULAR, Image, Recipe
from registry_stack.deployment import Deployment, State, current
from registry_stack.docker.engine import engine
from registry_stack.errors import RegistryStackError
from registry_stack.product import TEMPLATE
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import LocalOptions
from registry_stack.template.environment import read_environment
from registry_stack.template.template import load_template

# The host pulls it when it boots, after which it is not cold any more: none of the images that are measured.
_CHECK = Recipe("library/check", "1", (0.01,))
# Pulled most from Docker Hub; each is an index of several platforms.
HUB_IMAGES = tuple(recipe.name for recipe in POPULAR)


@dataclass(frozen=True)
class Mirror:
    """What to load. `ca_file`: what to trust, empty for what the system trusts; `standin`: its upstream if it is ours.

    `deployment` is what it was found by, if it was; only then can it be pushed to.
    """

    url: str
    ca_file: str
    images: tuple[str, ...]
    deployment: Deployment | None = None
    standin: FakeUpstream | None = None

    def answers(self, reference: str) -> str | None:
        """None when it has a manifest for `repo:tag`, else what it said."""
        repo, _colon, tag = reference.rpartition(":")
        try:
            url = f"{self.url}/v2/{repo}/manifests/{tag}"
            answer = requests.get(url, headers={"Accept": ACCEPT}, verify=self.ca_file or True, timeout=30)
        except requests.RequestException as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.status_code == 200 else f"HTTP {answer.status_code}: {answer.text[:200].strip()}"


def find_mirror(host: str, ca: str, name: str, images: Sequence[str], ask: bool = True) -> Mirror:
    """The mirror at `host`, or the deployment of that name; `images` as `repo:tag`, or none for what it should have.

    Raises RegistryStackError when it is not there or, with `ask`, gives none of the images.
    """
    if ca and not Path(ca).is_file():
        raise RegistryStackError(f"--ca {ca}: there is no such file")
    found = _elsewhere(host, ca, images) if host else _deployed(name, ca, images)
    if not ask:
        return found
    refusals = [found.answers(image) for image in found.images]
    if all(refusals):
        raise RegistryStackError(
            f"the mirror {found.url} cannot pull {found.images[0]}: {refusals[0]} (see --images, --ca)"
        )
    usable = [image for image, refusal in zip(found.images, refusals, strict=True) if refusal is None]
    return Mirror(found.url, found.ca_file, tuple(usable), found.deployment, found.standin)


@contextmanager
def own_mirror(
    recipes: Sequence[Recipe],
    parameters: Sequence[str] = (),
    report: ProgressCallback = no_progress,
    prefix: str = "load",
) -> Iterator[tuple[Mirror, list[Image]]]:
    """A mirror deployed for this run beside an upstream of our own that serves these images; all of it is removed.

    `parameters` are further `name=value` ones of the template.
    """
    client, options = engine(report), _options(prefix)
    try:
        local.prepare_network(client, options)
        standin = FakeUpstream.start(client, options.name, options.network, options.all_labels, report)
        standin.add([_CHECK])
        images = standin.add(recipes, report)
        given = [
            f"upstream_url={URL}",
            f"extra_ca_certificates={base64.b64encode(standin.ca.encode()).decode()}",
            f"upstream_check_image={_CHECK.name}",
            "require_upstream=true",
            "domain=localdomain",
            *parameters,
        ]
        deployment = local.deploy(options, read_environment([], given), report)
        names = tuple(image.name for image in images)
        yield Mirror(deployment.mirror_url, deployment.ca_file, names, deployment, standin), images
    finally:
        report(f"removing {options.name}")
        local.destroy(options.name)


def has_standin(name: str) -> bool:
    """Whether the local deployment of that name has an upstream of ours, which is always there."""
    return FakeUpstream.find(engine(), name) is not None


def known_parameters(parameters: Sequence[str]) -> list[str]:
    """Those `name=value` whose name this template has."""
    names = load_template(TEMPLATE).parameters
    return [parameter for parameter in parameters if parameter.partition("=")[0] in names]


def _options(prefix: str) -> LocalOptions:
    return LocalOptions(name=f"{prefix}-{secrets.token_hex(3)}", mirror_port=None, registry_port=None)


def _elsewhere(host: str, ca: str, images: Sequence[str]) -> Mirror:
    """A mirror by its URL; if it is one that was deployed from here, with its CA."""
    url = host.rstrip("/")
    known = State("docker_registry").load()
    deployment = known if known is not None and known.mirror_url == url else None
    return Mirror(url, ca or (deployment.ca_file if deployment else ""), tuple(images or HUB_IMAGES), deployment)


def _deployed(name: str, ca: str, images: Sequence[str]) -> Mirror:
    deployment = current(name)
    standin = FakeUpstream.find(engine(), name) if deployment.target == "local" else None
    ours = tuple(image for image in standin.images() if image != _CHECK.name) if standin else ()
    wanted = tuple(images) or ours or HUB_IMAGES
    return Mirror(deployment.mirror_url, ca or deployment.ca_file, wanted, deployment, standin)
