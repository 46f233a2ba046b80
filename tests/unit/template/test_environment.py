"""Environment files and -P options: merging, and every message."""

from pathlib import Path

import pytest
from heat.common import environment_util
from heat.engine import template as heat_template

from registry_stack.errors import RegistryStackError
from registry_stack.template.environment import SourcedValue, parse_options, read_environment


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


def test_later_files_and_options_win(tmp_path: Path) -> None:
    first = write(tmp_path, "a.yaml", "parameters: {x: 1, y: 1}\nparameter_defaults: {d: 1}\n")
    second = write(tmp_path, "b.yaml", "parameters: {y: 2, z: 2}\nparameter_defaults: {d: 2}\n")
    environment = read_environment([first, second], ["z=3", "w=a=b"])
    values = {name: given.value for name, given in environment.parameters.items()}
    assert values == {"x": 1, "y": 2, "z": "3", "w": "a=b"}
    assert environment.parameters["y"] == SourcedValue(2, str(second))
    assert environment.parameters["z"].source == "-P"
    assert environment.defaults["d"].value == 2
    assert environment.files == (str(first), str(second))


def test_files_are_merged_as_in_heat(tmp_path: Path) -> None:
    texts = {"a": "parameters: {x: '1', y: '1'}", "b": "parameters: {y: '2'}\nparameter_defaults: {x: '3'}"}
    body = {name: {"type": "string"} for name in "xy"}
    parsed = heat_template.Template({"heat_template_version": "2018-08-31", "parameters": body})
    merged: dict[str, dict[str, str]] = {"parameters": {}, "parameter_defaults": {}}
    environment_util.merge_environments(list(texts), texts, merged, parsed.all_param_schemata({}))
    ours = read_environment([write(tmp_path, name, text) for name, text in texts.items()])
    assert {name: given.value for name, given in ours.parameters.items()} == merged["parameters"]
    assert {name: given.value for name, given in ours.defaults.items()} == merged["parameter_defaults"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "parameters: {}", "parameter_merge_strategies: {}"])
def test_empty_file_is_valid(tmp_path: Path, text: str) -> None:
    environment = read_environment([write(tmp_path, "e.yaml", text)])
    assert environment.parameters == {}
    assert environment.ignored == ()


def test_ignored_sections_are_listed(tmp_path: Path) -> None:
    text = "resource_registry: {A: B}\nevent_sinks: []\nencrypted_param_names: [a]\n"
    text += "parameter_merge_strategies: {default: overwrite}\n"
    path = write(tmp_path, "e.yaml", text)
    assert read_environment([path]).ignored == (
        f"{path}: resource_registry",
        f"{path}: encrypted_param_names",
    )


def test_dates_stay_text_and_numbers_numbers_as_in_heat(tmp_path: Path) -> None:
    path = write(tmp_path, "e.yaml", "parameters: {day: 2024-01-02, number: 1.0}")
    values = {name: given.value for name, given in read_environment([path]).parameters.items()}
    assert values == {"day": "2024-01-02", "number": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parameters: {a: 1", "{path}:1:18: not valid YAML: expected ',' or '}}', but got '<stream end>'"),
        ("parameters:\n  a: b: c\n", "{path}:2:7: not valid YAML: mapping values are not allowed here"),
        (
            "parameters:\n\ta: 1\n",
            "{path}:2:1: not valid YAML: found character '\\t' that cannot start any token",
        ),
        ("parameters:\n  a: 1\n  a: 2\n", '{path}:3:3: not valid YAML: duplicate key "a"'),
        ("a password: 1\n- b", "{path}:2:1: not valid YAML: expected <block end>, but found '-'"),
        ("- a", '{path}: an environment file is a mapping with "parameters:" in it, not a list'),
        ("hello", '{path}: an environment file is a mapping with "parameters:" in it, not a str'),
        ("paramters: {}", '{path}: unknown top-level key "paramters"; did you mean "parameters"?'),
        (
            "hostname: registry",
            '{path}: unknown top-level key "hostname"; known are parameter_defaults, parameters,'
            " resource_registry, encrypted_param_names, event_sinks, parameter_merge_strategies",
        ),
        ("parameters:", '{path}: section "parameters" is empty; remove it or fill it'),
        ("parameters: [a]", '{path}: section "parameters" must be a mapping of name: value'),
        (
            "parameter_merge_strategies: {a: merge}",
            '{path}: parameter_merge_strategies other than "overwrite" are not supported',
        ),
    ],
)
def test_messages(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "env.yaml", text)
    with pytest.raises(RegistryStackError) as error:
        read_environment([path])
    assert str(error.value) == message.format(path=path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RegistryStackError) as error:
        read_environment([tmp_path / "none.yaml"])
    assert str(error.value) == f"environment file {tmp_path}/none.yaml not found"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {}),
        (["a=1"], {"a": "1"}),
        (["a=1;b=2"], {"a": "1", "b": "2"}),
        (["a=1;2", "b=3"], {"a": "1;2", "b": "3"}),
        (["a=1", "a=2"], {"a": ["1", "2"]}),
        (["a="], {"a": ""}),
    ],
)
def test_options_are_split_as_in_heatclient(options: list[str], expected: dict[str, object]) -> None:
    assert parse_options(options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["hostname"], "-P number 1 is not name=value"),
        (["a=1", "s3cret"], "-P number 2 is not name=value"),
        (
            ["os_password=a;s3cret"],
            '-P: a part after a semicolon is not name=value; a ";" in a single -P separates parameters:'
            " put such a value in an environment file",
        ),
    ],
)
def test_option_messages_contain_no_value(options: list[str], message: str) -> None:
    with pytest.raises(RegistryStackError) as error:
        parse_options(options)
    assert str(error.value) == message
