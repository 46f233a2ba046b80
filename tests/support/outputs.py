"""The outputs of a stack, without a stack."""

from collections.abc import Mapping
from typing import Any

from registry_stack.template.functions import References, Scope
from registry_stack.template.template import Template


def render_output(template: Template, name: str, values: Mapping[str, Any], references: References) -> Any:
    """One output as Heat renders it; `references` has what it needs of the resources."""
    return Scope(template, values, references).evaluate(template.outputs[name]["value"], f"outputs.{name}")
