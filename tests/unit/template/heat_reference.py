"""Heat's own engine, offline, as the reference of the template package.

openstack-heat's parser, functions and resource schemas run without a database and without a cloud; only what
asks a cloud (custom constraints, service availability) is patched out.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from heat.common import exception, grouputils, identifier, template_format
from heat.engine import (
    constraints,
    environment,
    function,
    node_data,
    resource,
    resources,
    stack,
    stk_defn,
    template,
)
from heatclient.common import template_utils

PROJECT = "0123456789abcdef0123456789abcdef"
STACK = "docker_registry"
ERRORS = (ValueError, TypeError, KeyError, AttributeError, AssertionError, exception.HeatException)


@dataclass
class HeatReference:
    """A template inside Heat, with parameters and what its resources would answer."""

    document: dict[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[tuple[str, ...], Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def evaluate(self, snippet: Any) -> Any:
        """The snippet as Heat resolves it; raises one of ERRORS."""
        definition = self._definition()
        return function.resolve(definition.t.parse(definition, snippet))

    def _definition(self) -> Any:
        env = environment.Environment({"parameters": dict(self.parameters)})
        parsed = template.Template(self.document, files=dict(self.files), env=env)
        identity = identifier.HeatIdentifier(PROJECT, STACK, "stack-id")
        # Kept on self: a Heat function holds its stack by a weak reference only.
        self._kept = stk_defn.StackDefinition(mock.MagicMock(), parsed, identity, self._resource_data())
        return self._kept

    def _resource_data(self) -> dict[str, Any]:
        data = {}
        for name in {key[0] for key in self.references}:
            # Of a part of an attribute, Heat has the whole path as the key.
            attributes = {
                key[1] if len(key) == 2 else key[1:]: value
                for key, value in self.references.items()
                if key[0] == name and len(key) > 1
            }
            data[name] = node_data.NodeData(
                1, name, "uuid", self.references.get((name,)), attributes, "CREATE", "COMPLETE"
            )
        return data


def from_file(path: Path, parameters: Mapping[str, Any], references: Mapping[tuple[str, ...], Any]) -> HeatReference:
    """A template file with its get_file files, read as python-heatclient sends them."""
    document = template_format.parse(path.read_text())
    contents: dict[str, bytes] = {}
    template_utils.resolve_template_get_files(document, contents, path.parent.resolve().as_uri())
    files = {name: content.decode() for name, content in contents.items()}
    return HeatReference(document, parameters, references, files)


def validation_error(path: Path, parameters: Mapping[str, Any]) -> str:
    """What Heat's own validation says against a template and these parameters; empty when nothing.

    Sections, parameters with their schemata and values, groups, conditions, names, resource types, property
    names and types, attributes, references, dependency cycles and outputs are checked.
    """
    logging.getLogger("heat").setLevel(logging.CRITICAL)
    resources.initialise()
    try:
        with (
            mock.patch.object(constraints.CustomConstraint, "validate"),
            mock.patch.object(resource.Resource, "_validate_service_availability"),
        ):
            _validate(from_file(path, parameters, {}))
    except ERRORS as error:
        return f"{type(error).__name__}: {error}"
    return ""


def group_validation_error(path: Path, parameters: Mapping[str, Any]) -> str:
    """The same of a template with groups of nested ones, which are validated down to the properties of each server."""
    logging.getLogger("heat").setLevel(logging.CRITICAL)
    resources.initialise()
    server = environment.Environment({}).get_class("OS::Nova::Server")
    nobody = mock.Mock(size=lambda **_: 0, member_names=lambda **_: [])
    files, document = template_utils.get_template_contents(template_file=str(path))
    env = environment.Environment({"parameters": dict(parameters)})
    try:
        with (
            mock.patch.object(constraints.CustomConstraint, "validate"),
            mock.patch.object(resource.Resource, "_validate_service_availability"),
            mock.patch.object(grouputils.GroupInspector, "from_parent_resource", return_value=nobody),
            mock.patch.object(server, "_validate_image_flavor"),
        ):
            parsed = template.Template(document, files=files, env=env)
            context = mock.MagicMock(project_id=PROJECT)
            made = stack.Stack(context, STACK, parsed, strict_validate=False)
            made.parameters.validate(context=context)
            made.validate()
            list(made.dependencies)
    except ERRORS as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _validate(reference: HeatReference) -> None:
    env = environment.Environment({"parameters": dict(reference.parameters)})
    parsed = template.Template(reference.document, files=dict(reference.files), env=env)
    context = mock.MagicMock(project_id=PROJECT)
    made = stack.Stack(context, STACK, parsed, strict_validate=False)
    made.parameters.validate(context=context)
    made.validate(validate_res_tmpl_only=True)
    for item in made.resources.values():
        function.validate(item.t.properties(item.properties_schema).data)
    list(made.dependencies)
