"""The product, or an edited copy of it, with everything a test wants to know about it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from registry_stack.template.environment import Environment, SourcedValue, read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import Template, load_template
from registry_stack.userdata.build import build, plain
from registry_stack.userdata.host_files import HostFile, host_files
from registry_stack.userdata.render import references_in, render_user_data, source_text
from tests.unit.template import heat_reference

REPOSITORY = Path(__file__).parents[3]
TEMPLATE = "heat/registry.yaml"
GROUP = "heat/registry-group.yaml"
CLOUD_CONFIG = "cloud-config"
LOADERS = f"{CLOUD_CONFIG}/loaders.yaml"
EXAMPLE = "heat/env.example.yaml"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB+/=\nAAAA\n-----END CERTIFICATE-----\n"
PSEUDO = {
    "OS::project_id": heat_reference.PROJECT,
    "OS::stack_name": heat_reference.STACK,
    "OS::stack_id": "stack-id",
}


@dataclass(frozen=True)
class Product:
    """A tree with the template, the cloud-config and the example environment."""

    root: Path

    @cached_property
    def template(self) -> Template:
        return load_template(self.root / TEMPLATE)

    @cached_property
    def group(self) -> Template:
        return load_template(self.root / GROUP)

    @cached_property
    def source(self) -> str:
        """Every file as it stands in the tree, as one cloud-config."""
        return plain(self.root / CLOUD_CONFIG)

    @cached_property
    def packed(self) -> str:
        """What the template inserts: the committed file, built from the tree."""
        return source_text(self.template, self.values())

    @cached_property
    def environment(self) -> Environment:
        return read_environment([self.root / EXAMPLE])

    @cached_property
    def example(self) -> dict[str, Any]:
        return {name: given.value for name, given in self.environment.parameters.items()}

    def given(self, **more: Any) -> dict[str, Any]:
        """The example with more parameters. Unless they say otherwise, everything is in user-data."""
        return {"settings_transport": "user_data", **self.example, **more}

    def values(self, **given: Any) -> dict[str, Any]:
        """The example environment, some parameters given otherwise, resolved, with the pseudo parameters."""
        changed = {name: SourcedValue(value, "-P") for name, value in self.given(**given).items()}
        environment = replace(self.environment, parameters=self.environment.parameters | changed)
        return resolve_parameters(self.template, environment) | PSEUDO

    @cached_property
    def references(self) -> dict[tuple[str, ...], Any]:
        """Something for every resource and attribute that the template names."""
        found: dict[tuple[str, ...], Any] = {("ready", "data"): json.dumps({"ca": PEM})}
        sections = [self.template.resources, self.template.outputs]
        return {key: found.get(key, ".".join(key)) for key in references_in(sections)}

    def rendered(self, **given: Any) -> str:
        return render_user_data(self.template, self.values(**given), self.references)

    def files(self, **given: Any) -> dict[str, HostFile]:
        return host_files(self.rendered(**given))

    def edited(self, directory: Path, name: str, old: str, new: str) -> "Product":
        """A copy with one text in one file replaced; the text must be there."""
        for folder in ("heat", CLOUD_CONFIG):
            shutil.copytree(self.root / folder, directory / folder)
        text = (directory / name).read_text()
        assert old in text, f"{old!r} is not in {name}"
        (directory / name).write_text(text.replace(old, new, 1))
        if name.startswith(CLOUD_CONFIG):
            for built, text in build(directory / CLOUD_CONFIG).items():
                (directory / CLOUD_CONFIG / built).write_text(text)
        return Product(directory)


def parameters_in(snippet: Any) -> Iterator[str]:
    """The name of every parameter that a piece of template reads."""
    for value in snippet.values() if isinstance(snippet, dict) else snippet:
        if isinstance(value, dict | list):
            yield from parameters_in(value)
    if isinstance(snippet, dict) and "get_param" in snippet:
        name = snippet["get_param"]
        yield name[0] if isinstance(name, list) else name
