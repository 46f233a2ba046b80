"""Loading a template, and every message."""

from pathlib import Path

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.template.template import Constraint, Parameter, load_template
from tests.unit.template.conftest import MakeTemplate

BODY = """
parameters:
  name:
    type: string
    label: Name
    description: What it is called.
    constraints:
      - {length: {min: 1, max: 9}, description: short}
  secret: {type: string, hidden: true, default: ''}
parameter_groups:
  - {label: All, description: everything, parameters: [name, secret]}
resources:
  server: {type: 'OS::Nova::Server'}
"""


def test_reads_parameters_and_groups(make_template: MakeTemplate) -> None:
    template = make_template(BODY)
    length = Constraint("length", {"min": 1, "max": 9}, "short")
    assert template.parameters["name"] == Parameter(
        "name", "string", None, "What it is called.", "Name", False, (length,)
    )
    assert template.parameters["name"].required
    assert template.parameters["secret"].hidden
    assert not template.parameters["secret"].required
    assert template.groups[0].parameters == ("name", "secret")
    assert list(template.resources_of("OS::Nova::Server")) == ["server"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "{path}: a template is a mapping, this is a list"),
        ("a: {b: 1, b: 2}", '{path}:1:11: not valid YAML: duplicate key "b"'),
        ("a: b: c", "{path}:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: \x01", "{path}:1:4: not valid YAML: special characters are not allowed"),
        (
            "a: !!python/name:os.system",
            "{path}:1:4: not valid YAML: could not determine a constructor for the tag"
            " 'tag:yaml.org,2002:python/name:os.system'",
        ),
        ("parameter: {}", '{path}: unknown section "parameter"'),
        ("{}", "{path}: heat_template_version must be 2018-08-31"),
        ("heat_template_version: 2021-04-16", "{path}: heat_template_version must be 2018-08-31"),
        (
            "heat_template_version: 2018-08-31\nresources: []\noutputs: [a]",
            '{path}: "outputs" must be a mapping',
        ),
        (
            "heat_template_version: 2018-08-31\nresources: {a: {}}",
            '{path}: resources.a must be a mapping with "type"',
        ),
        (
            "heat_template_version: 2018-08-31\nparameters: {a: {type: text}}",
            '{path}: parameters.a must be a mapping with a "type" out of boolean, comma_delimited_list, number, string',
        ),
        (
            "heat_template_version: 2018-08-31\nparameters: {a: {type: string, constraints: [{max: 1}]}}",
            "{path}: parameters.a: a constraint must be one of range, length, allowed_values,"
            " allowed_pattern, custom_constraint",
        ),
        (
            "heat_template_version: 2018-08-31\nparameter_groups: [{label: a}]",
            '{path}: every entry of "parameter_groups" needs a list "parameters"',
        ),
    ],
)
def test_messages(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(RegistryStackError) as error:
        load_template(path)
    assert str(error.value) == message.format(path=path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RegistryStackError) as error:
        load_template(tmp_path / "none.yaml")
    assert str(error.value) == f"template {tmp_path}/none.yaml not found"


def test_directory_and_latin1(tmp_path: Path) -> None:
    with pytest.raises(RegistryStackError) as error:
        load_template(tmp_path)
    assert str(error.value) == f"template {tmp_path} cannot be read: Is a directory"
    (tmp_path / "l.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(RegistryStackError) as error:
        load_template(tmp_path / "l.yaml")
    assert str(error.value) == f"{tmp_path}/l.yaml: not UTF-8 text (byte 4); save it as UTF-8"
