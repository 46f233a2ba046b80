"""heat/registry.yaml and cloud-config: what Heat and the loaders make of them."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.template.functions import Scope
from registry_stack.template.template import Template
from registry_stack.userdata.build import BUILT, GROUP_ONLY, UNPACK, bytes_left, is_stale, stripped, tree_files
from registry_stack.userdata.host_files import BUNDLE, HostFile, bundled, cloud_config, host_files
from tests.support.outputs import render_output
from tests.unit.template import heat_reference, linters, rules, template_rules
from tests.unit.template.repository import (
    CLOUD_CONFIG,
    EXAMPLE,
    LOADERS,
    PEM,
    REPOSITORY,
    TEMPLATE,
    Product,
    parameters_in,
)

TEN = (
    *("hostname", "domain", "server_key", "server_flavor", "server_image", "fip_network"),
    *("os_username", "os_password", "os_region", "os_authurl"),
)
OUTPUTS = {
    *("mirror_url", "registry_url", "registry_username", "registry_password"),
    *("floating_ip", "ca_certificate"),
}
# One-line values that hurt a shell, systemd, YAML or a second round of replacing.
HOSTILE = (
    "it's",
    "''\"'\"'",
    "$(touch /tmp/hostile) `id` ${HOME} %h %%",
    "back\\slash\\",
    "  spaces  ",
    "@@HOST_NAME@@",
    "# no comment",
    "é ü 漢 😀",
    "a: {b: [c]} &d *e !f |",
)
BROKEN_LINES = (
    *("two\nlines", "carriage\rreturn", "nul\0", "tab\t", "e\x1b[m"),
    # YAML 1.1 breaks lines at these, or takes no such character at all.
    *("next\x85line", "line\u2028separator", "\x80", "\ufffe"),
)


FILES = REPOSITORY / CLOUD_CONFIG / "files"


def given(**values: Any) -> Any:
    return pytest.param(values, id=" ".join(f"{name}={value}" for name, value in values.items()) or "example")


OPTIONS = [
    given(),
    given(settings_transport="heat"),
    given(network="mine", storage_driver="s3", cache_volume_size=50),
    given(storage_driver="filesystem", dns_zone="example.com.", registry_password="it's"),
    given(storage_redirect="true", require_upstream="false"),
    given(metrics_client_cidr="192.0.2.0/24", status_page="false"),
    given(upstreams="k8s,ecr-public,corp=https://registry.example.com/path", dns_zone="example.com."),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_renders_as_heat_does(product: Product, options: dict[str, Any]) -> None:
    heat = heat_reference.from_file(product.root / TEMPLATE, product.given(**options), product.references)
    # As Heat itself reads the template: not a word of ours in between.
    server = heat.document["resources"]["server"]["properties"]
    assert product.rendered(**options) == heat.evaluate(server["user_data"])


@pytest.mark.parametrize("options", OPTIONS)
def test_outputs_are_heats(product: Product, options: dict[str, Any]) -> None:
    heat = heat_reference.from_file(product.root / TEMPLATE, product.given(**options), product.references)
    theirs = {name: heat.evaluate(body["value"]) for name, body in heat.document["outputs"].items()}
    values = product.values(**options)
    assert {
        name: render_output(product.template, name, values, product.references) for name in product.template.outputs
    } == theirs


def test_outputs(product: Product) -> None:
    assert product.template.outputs.keys() >= OUTPUTS
    assert render_output(product.template, "ca_certificate", product.values(), product.references) == PEM


def test_every_output_is_read(product: Product) -> None:
    """By the package as outputs["NAME"], or by a test of a host as render_output(template, "NAME", …)."""
    modules = [*(REPOSITORY / "registry_stack").rglob("*.py"), *(REPOSITORY / "tests" / "host").rglob("*.py")]
    assert modules
    read = {name for module in modules for name in outputs_read(ast.parse(module.read_text()))}
    # What a person needs who deploys without the package.
    assert read | {"client_configuration"} == product.template.outputs.keys() | product.group.outputs.keys()


def outputs_read(module: ast.Module) -> Iterator[str]:
    """Every NAME that is read in one of these two ways."""
    for node in ast.walk(module):
        match node:
            case ast.Subscript(value=ast.Name(id="outputs"), slice=ast.Constant(value=str(name)), ctx=ast.Load()):
                yield name
            case ast.Call(func=ast.Name(id="render_output"), args=[_, ast.Constant(value=str(name)), *_]):
                yield name


@pytest.mark.parametrize("options", OPTIONS)
def test_heat_validates(product: Product, options: dict[str, Any]) -> None:
    assert heat_reference.validation_error(product.root / TEMPLATE, product.given(**options)) == ""


@pytest.mark.parametrize(
    "rule",
    template_rules.RULES,
)
def test_rules_of_the_template(product: Product, rule: Callable[[Template], list[str]]) -> None:
    assert rule(product.template) == []


def test_exactly_the_ten_are_required(product: Product) -> None:
    assert template_rules.required_are(product.template, TEN) == []


def test_the_example_has_the_ten_and_is_enough(product: Product) -> None:
    assert set(product.example) == set(TEN)
    assert template_rules.renders(product.template, product.values(), product.references) == []


@pytest.mark.parametrize(
    "rule",
    rules.RULES,
)
def test_rules_of_the_cloud_config(product: Product, rule: Callable[[str], list[str]]) -> None:
    assert rule(product.rendered()) == []


@pytest.mark.parametrize("rule", [rule for rule in rules.RULES if rule is not rules.environment_lines])
def test_rules_of_the_bootstrap(product: Product, rule: Callable[[str], list[str]]) -> None:
    """The settings are not in there."""
    assert rule(product.rendered(settings_transport="heat")) == []


def test_bootstrap_is_short(product: Product) -> None:
    """Heat before 2026.1 cannot delete a stack whose error message quotes more."""
    text = product.rendered(settings_transport="heat", extra_ca_certificates="A" * 2400)
    assert len(text) < 32 << 10


def test_deployment_brings_what_the_bootstrap_does_not(product: Product) -> None:
    """Together they are the files of the tree."""
    script = HostFile(BUNDLE, (REPOSITORY / CLOUD_CONFIG / UNPACK).read_bytes(), 0o755, "", "")
    brought = {file.path for file in bundled(script)}
    bootstrap = product.files(settings_transport="heat").keys()
    assert brought | bootstrap | {rules.ENVIRONMENT_FILE} == tree_files(REPOSITORY / CLOUD_CONFIG).keys()
    # The next version of these comes with the others.
    assert bootstrap - brought == {"/etc/docker-registry/stack"}


def test_settings_are_the_same_by_either_transport(product: Product) -> None:
    """The deployment's input is the file that is in user-data otherwise, but for the signal to the wait condition."""
    scope = Scope(product.template, product.values(settings_transport="heat", os_password="it's"), product.references)
    inputs = product.template.resources["settings"]["properties"]["input_values"]
    brought = scope.evaluate(inputs["environment"], "environment").splitlines()
    in_user_data = product.files(os_password="it's")[rules.ENVIRONMENT_FILE].content.decode().splitlines()
    kept = [line for line in in_user_data if not line.startswith("SIGNAL_")]
    assert [line for line in brought if not line.startswith(("SIGNAL_", "#"))] == kept
    assert {"SIGNAL_URL=''", "SIGNAL_TOKEN=''"} <= set(brought)


def test_the_committed_file_is_built_from_the_tree(product: Product) -> None:
    """Run `python -m registry_stack.userdata.build` after a change of the tree."""
    assert not is_stale(product.root / CLOUD_CONFIG)


def test_the_built_file_has_the_files_of_the_tree(product: Product) -> None:
    packed, source = cloud_config(product.packed), cloud_config(product.source)
    assert list(packed) == list(source)
    assert {key: packed[key] for key in packed if key != "write_files"} == {
        key: source[key] for key in source if key != "write_files"
    }
    assert unpacked(product.packed) == {
        path: replace(file, content=stripped(path, file.content.decode()).encode())
        for path, file in unpacked(product.source).items()
    }
    assert {entry.get("encoding") for entry in packed["write_files"]} == {None}


def test_only_comments_are_stripped_from_scripts(product: Product) -> None:
    """As bash itself reads them: a here-document or a text of several lines may look like a comment."""
    found = scripts(unpacked(product.source) | group_files())
    assert found
    for path, file in found.items():
        text = file.content.decode()
        assert linters.parsed_by_bash(stripped(path, text)) == linters.parsed_by_bash(text), path


def group_files() -> dict[str, HostFile]:
    """The files with all that only a group needs: in no user-data, but in the deployment's script."""
    files = {path: file.read_text() for path, file in tree_files(REPOSITORY / CLOUD_CONFIG).items()}
    found = {path: text for path, text in files.items() if path in GROUP_ONLY or "<group>" in text}
    return {path: HostFile(path, text.encode(), 0o644, "root:root", "") for path, text in found.items()}


def test_user_data_has_nothing_of_a_group(product: Product) -> None:
    files = product.files()
    assert not files.keys() & GROUP_ONLY
    assert [path for path, file in files.items() if b"group_conf" in file.content or b"<group>" in file.content] == []
    script = HostFile(BUNDLE, (REPOSITORY / CLOUD_CONFIG / UNPACK).read_bytes(), 0o755, "", "")
    with_group = {file.path: file.content for file in bundled(script)}
    assert b"group_conf" in with_group["/opt/registry/render-edge-config"]
    assert with_group.keys() >= GROUP_ONLY


def scripts(files: dict[str, HostFile]) -> dict[str, HostFile]:
    return {path: files[path] for path in linters.scripts(files)}


def unpacked(text: str) -> dict[str, HostFile]:
    """The files, whether packed or not; a placeholder in base64 becomes something that is."""
    files = host_files(text.replace("@@EXTRA_CA_CERTIFICATES@@", "AAAA"))
    return {path: replace(file, encoding="") for path, file in files.items() if path != BUNDLE}


def test_nothing_in_the_source_is_replaced_by_coreos_cloudinit(product: Product) -> None:
    """In the packed file it could not be seen."""
    assert rules.no_coreos_substitution(product.source) == []


def test_placeholders(product: Product) -> None:
    assert rules.placeholders_where_allowed(product.source) == []
    assert rules.placeholders_where_allowed(product.packed) == []
    assert template_rules.placeholders_filled(product.template, product.rendered()) == []


def test_static_files_are_byte_identical(product: Product) -> None:
    assert rules.static_files_identical(product.packed, product.rendered()) == []


def test_fits_into_nova_with_every_option_used(product: Product) -> None:
    assert bytes_left(product.template) >= 100


def test_ordinary_user_data_with_heat_is_short(product: Product) -> None:
    """Heat before 2026.1 cannot delete a stack whose error message quotes more (story 2011188)."""
    assert set(product.example) == set(TEN)
    assert len(product.rendered(settings_transport="heat").encode()) < 32 * 1024


def on_the_host(product: Product, value: str) -> dict[str, str]:
    """Every text parameter that reaches the host and takes a value with this end, and that value."""
    server = product.template.resources["server"]["properties"]["user_data"]
    taken = {}
    for name in sorted(parameters_in(server)):
        item = product.template.parameters.get(name)
        if item and item.type == "string" and not refused(product, name, name + value):
            taken[name] = name + value
    return taken


def refused(product: Product, name: str, value: str) -> bool:
    try:
        product.values(**{name: value})
    except RegistryStackError:
        return True
    return False


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_hostile_values_arrive_as_they_are(product: Product, tmp_path: Path, value: str) -> None:
    taken = on_the_host(product, value)
    assert "os_password" in taken
    text = product.rendered(**taken)
    assert rules.environment_lines(text) == []
    linters.write_tree([host_files(text)[rules.ENVIRONMENT_FILE]], tmp_path)
    variables, complaint = linters.sourced_environment(tmp_path / rules.ENVIRONMENT_FILE.lstrip("/"))
    assert complaint == ""
    assert [name for name in taken if taken[name] not in variables.values()] == []


@pytest.mark.parametrize("value", BROKEN_LINES, ids=ascii)
def test_values_that_would_break_the_file_are_refused(product: Product, value: str) -> None:
    """A line break in a value would end its YAML line: a parameter could write anything on the host."""
    assert list(on_the_host(product, value)) == []


def test_units_pass_systemd_analyze(product: Product, tmp_path: Path) -> None:
    assert rules.units(product.rendered())
    assert linters.systemd_verify(product.files(), tmp_path) == ""


def test_scripts_pass_shellcheck(product: Product, tmp_path: Path) -> None:
    assert linters.shellcheck(unpacked(product.source) | group_files(), tmp_path) == ""


def test_scripts_are_formatted() -> None:
    assert linters.shfmt(FILES / "opt/registry") == ""


def test_awk_programs_pass_gawk_lint() -> None:
    assert linters.gawk_lint(FILES) == ""


@pytest.mark.parametrize("transport", ["heat", "user_data"])
def test_cloud_init_takes_it(product: Product, tmp_path: Path, transport: str) -> None:
    assert linters.cloud_init_schema(product.rendered(settings_transport=transport), tmp_path) == ""


@pytest.mark.parametrize("name", [TEMPLATE, EXAMPLE, LOADERS, f"{CLOUD_CONFIG}/{BUILT}"])
def test_yamllint(name: str) -> None:
    assert linters.yamllint(REPOSITORY / name, REPOSITORY / ".yamllint.yaml") == ""
