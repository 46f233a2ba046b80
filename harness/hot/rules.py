"""The rules the cloud-config and the template must keep, each a function that returns its violations.

An empty list is a pass. The unit tests run each on the product, and on a copy that breaks it.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from harness.errors import HarnessError
from harness.hot.functions import References
from harness.hot.parameters import check_default
from harness.hot.template import Template
from harness.hot.userdata import (
    PLACEHOLDER,
    UNIT_DIRECTORY,
    HostFile,
    cloud_config,
    host_files,
    placeholders,
    render_user_data,
    source_text,
    units,
)

ENVIRONMENT_FILE = "/etc/docker-registry/environment"
_ENVIRONMENT_LINE = re.compile(r"[A-Z][A-Z0-9_]*=@@[A-Z][A-Z0-9_]*@@|#[^@]*|[^@]*")
_RENDERED_LINE = re.compile(r"[A-Z][A-Z0-9_]*=.*|#.*|")
_SECRET = re.compile(r"password|passphrase|secret|token|credential|(?<!^server)_key$")
# Heat lets an empty name pass for these only (heat/engine/clients/os/nova.py, KeypairConstraint).
_MAY_BE_EMPTY = frozenset({"nova.keypair"})
_LOCAL_CONSTRAINTS = frozenset({"net_cidr", "ip_addr", "dns_name"})
# coreos-cloudinit puts the host's addresses in place of these, anywhere in the text.
_SUBSTITUTED = re.compile(r"\$(?:private|public)_ipv[46]")


def placeholders_where_allowed(source: str) -> list[str]:
    """Placeholders stand only in the environment file (`NAME=@@NAME@@`) and as whole base64 entries."""
    allowed = 0
    violations = []
    for entry in cloud_config(source).get("write_files") or []:
        content = str(entry.get("content", ""))
        if entry["path"] == ENVIRONMENT_FILE:
            violations += _environment_violations(content)
        elif not (entry.get("encoding") in ("b64", "base64") and PLACEHOLDER.fullmatch(content)):
            violations += [f"{entry['path']}: {name} is not allowed here" for name in placeholders(content)]
        allowed += len(PLACEHOLDER.findall(content))
    outside = len(PLACEHOLDER.findall(source)) - allowed
    return violations + ([f"{outside} placeholder(s) outside the content of write_files"] if outside else [])


def _environment_violations(content: str) -> list[str]:
    bad = [line for line in content.splitlines() if not _ENVIRONMENT_LINE.fullmatch(line)]
    return [f"{ENVIRONMENT_FILE}: {line!r} is not NAME=@@NAME@@" for line in bad]


def placeholders_filled(template: Template, rendered: str) -> list[str]:
    """Nothing that the source calls a placeholder is left in the rendered text."""
    left = placeholders(source_text(template)) & placeholders(rendered)
    return [f"{name} survives" for name in sorted(left)]


def static_files_identical(source: str, rendered: str) -> list[str]:
    """A file without a placeholder is byte for byte, mode for mode the same in the rendered text."""
    before = {path: file for path, file in _files_of_source(source).items() if file is not None}
    after = host_files(rendered)
    if not before:
        return ["no static file found"]
    return [f"{path} differs" for path, file in before.items() if after.get(path) != file]


def _files_of_source(source: str) -> dict[str, HostFile | None]:
    """The source's files; None for those with a placeholder."""
    dynamic = {
        entry["path"]
        for entry in cloud_config(source)["write_files"]
        if placeholders(str(entry.get("content")))
    }
    # "AAAA" is valid base64 as well as text.
    return {
        path: None if path in dynamic else file
        for path, file in host_files(PLACEHOLDER.sub("AAAA", source)).items()
    }


def loaders_agree(text: str) -> list[str]:
    """`runcmd` and `coreos.units` start and enable the same units, and write_files has each of them."""
    by_runcmd, by_coreos = runcmd_units(text), coreos_units(text)
    written = {path.removeprefix(UNIT_DIRECTORY) for path in units(text)}
    violations = [
        f"{verb}: runcmd {sorted(by_runcmd[verb])}, coreos.units {sorted(by_coreos[verb])}"
        for verb in ("start", "enable")
        if by_runcmd[verb] != by_coreos[verb]
    ]
    asked = by_coreos["start"] | by_coreos["enable"]
    violations += [f"{name} is not in write_files" for name in sorted(asked) if _file_of(name) not in written]
    return violations if asked else [*violations, "coreos.units starts nothing"]


def _file_of(unit: str) -> str:
    """The file of a unit; an instance `a@b.service` comes from `a@.service`."""
    return re.sub(r"@[^.]+\.", "@.", unit)


def runcmd_units(text: str) -> dict[str, set[str]]:
    """What `systemctl start` and `systemctl enable` in runcmd name."""
    result: dict[str, set[str]] = {"start": set(), "enable": set()}
    for command in cloud_config(text).get("runcmd") or []:
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        if not words or words[0].rpartition("/")[2] != "systemctl":
            continue
        verb, *names = [word for word in words[1:] if not word.startswith("-")]
        if verb in ("start", "restart") or "--now" in words:
            result["start"].update(names)
        if verb in ("enable", "reenable"):
            result["enable"].update(names)
    return result


def coreos_units(text: str) -> dict[str, set[str]]:
    """What the entries of coreos.units start and enable."""
    result: dict[str, set[str]] = {"start": set(), "enable": set()}
    for unit in (cloud_config(text).get("coreos") or {}).get("units") or []:
        if unit.get("command") in ("start", "restart"):
            result["start"].add(unit["name"])
        if unit.get("enable"):
            result["enable"].add(unit["name"])
    return result


def unit_bodies_once(text: str) -> list[str]:
    """Every unit's text stands once: in write_files, never under coreos.units as well."""
    entries = (cloud_config(text).get("coreos") or {}).get("units") or []
    return [f"coreos.units: {e['name']} has a body" for e in entries if e.keys() & {"content", "drop-ins"}]


def enabled_units_installable(text: str) -> list[str]:
    """`systemctl enable` fails for a unit without [Install]."""
    files = {path.removeprefix(UNIT_DIRECTORY): file for path, file in units(text).items()}
    names = sorted(runcmd_units(text)["enable"] | coreos_units(text)["enable"])
    lacking = [n for n in names if (f := files.get(_file_of(n))) and b"[Install]" not in f.content]
    return [f"{name} is enabled but has no [Install]" for name in lacking]


def no_coreos_substitution(text: str) -> list[str]:
    """The text holds nothing that coreos-cloudinit would replace."""
    return [f"{found} would be replaced by coreos-cloudinit" for found in _SUBSTITUTED.findall(text)]


def modes_safe(text: str) -> list[str]:
    """Permissions are quoted octal, just scripts are executable, the environment is root's alone."""
    violations = []
    for entry in cloud_config(text)["write_files"]:
        if not re.fullmatch(r"0[0-7]{3}", str(entry.get("permissions"))):
            violations.append(f"{entry['path']}: permissions must be quoted, four octal digits")
    for path, file in host_files(text).items():
        if bool(file.mode & 0o111) != file.content.startswith(b"#!"):
            violations.append(f"{path}: mode {file.mode:04o} does not fit its first line")
        if path == ENVIRONMENT_FILE and (file.mode, file.owner) != (0o600, "root:root"):
            violations.append(f"{path}: must be 0600 root:root, it holds secrets")
    return violations


def environment_lines(text: str) -> list[str]:
    """Every line of the rendered environment file assigns one name, once: no value breaks out of its line."""
    lines = host_files(text)[ENVIRONMENT_FILE].content.decode().splitlines()
    names = [line.split("=", 1)[0] for line in lines if "=" in line and not line.startswith("#")]
    bad = [f"{line!r} is no assignment" for line in lines if not _RENDERED_LINE.fullmatch(line)]
    return bad + [f"{name} is assigned twice" for name in sorted({n for n in names if names.count(n) > 1})]


def parameters_described(template: Template) -> list[str]:
    """Every parameter has a description."""
    return [
        f"{name} has no description" for name, item in template.parameters.items() if not item.description
    ]


def parameters_grouped(template: Template) -> list[str]:
    """Every parameter is in exactly one parameter group, and every group has a label."""
    grouped = [name for group in template.groups for name in group.parameters]
    violations = [
        f"{name} is in {grouped.count(name)} groups"
        for name in template.parameters
        if grouped.count(name) != 1
    ]
    violations += [f"group has unknown {name}" for name in grouped if name not in template.parameters]
    return violations + ["a group has no label" for group in template.groups if not group.label]


def secrets_hidden(template: Template) -> list[str]:
    """Every parameter whose name says secret is `hidden`."""
    return [
        f"{n} is not hidden"
        for n, item in template.parameters.items()
        if _SECRET.search(n) and not item.hidden
    ]


def defaults_valid(template: Template) -> list[str]:
    """Every default satisfies its own constraints, also those that Heat asks a cloud about.

    Heat validates a default like a given value: an empty one fails `neutron.network` and the like.
    """
    violations = []
    for parameter in template.parameters.values():
        try:
            check_default(parameter)
        except HarnessError as error:
            violations.append(str(error))
        custom = {c.definition for c in parameter.constraints if c.kind == "custom_constraint"}
        if parameter.default == "" and custom - _MAY_BE_EMPTY - _LOCAL_CONSTRAINTS:
            violations.append(f"{parameter.name}: the empty default fails {', '.join(sorted(custom))}")
    return violations


def required_are(template: Template, names: Iterable[str]) -> list[str]:
    """Exactly these parameters have no default."""
    required = {name for name, item in template.parameters.items() if item.required}
    return [f"{name} should not be required" for name in sorted(required - set(names))] + [
        f"{name} should be required" for name in sorted(set(names) - required)
    ]


def user_data_raw(template: Template) -> list[str]:
    """Without `user_data_format: RAW` Heat wraps the text in a multipart message no CoreOS loader reads."""
    servers = template.resources_of("OS::Nova::Server")
    formats = {name: body.get("properties", {}).get("user_data_format") for name, body in servers.items()}
    return [
        f"{name}: user_data_format is {given}, not RAW" for name, given in formats.items() if given != "RAW"
    ]


def renders(template: Template, values: Mapping[str, Any], references: References) -> list[str]:
    """These values give a user-data that a loader can read and Nova takes."""
    try:
        host_files(render_user_data(template, values, references))
    except HarnessError as error:
        return [str(error)]
    return []
