"""The rules the cloud-config must keep, each a function that returns its violations.

An empty list is a pass. The unit tests run each on the product, and on a copy that breaks it.
"""

import re
import shlex
from collections.abc import Callable

from registry_stack.userdata.host_files import HostFile, cloud_config, host_files
from registry_stack.userdata.render import PLACEHOLDER, placeholders

UNIT_DIRECTORY = "/etc/systemd/system/"
ENVIRONMENT_FILE = "/etc/docker-registry/environment.user-data"
_ENVIRONMENT_LINE = re.compile(r"[A-Z][A-Z0-9_]*='@@[A-Z][A-Z0-9_]*@@'|#[^@]*|[^@]*")
_RENDERED_LINE = re.compile(r"[A-Z][A-Z0-9_]*=.*|#.*|")
# Units of the image itself that ours may name.
IMAGE_UNITS = frozenset(
    {
        *("docker.service", "docker.socket", "cloud-init.target", "cloud-final.service"),
        *("basic.target", "local-fs.target", "multi-user.target", "network-online.target", "network.target"),
        *("nss-lookup.target", "paths.target", "shutdown.target", "sysinit.target", "time-sync.target"),
        *("timers.target", "sockets.target", "umount.target"),
    }
)
_REFERENCE = re.compile(
    r"^(?:Wants|Requires|Requisite|BindsTo|PartOf|Upholds|Before|After|Conflicts|OnFailure|OnSuccess"
    r"|PropagatesReloadTo|ReloadPropagatedFrom|JoinsNamespaceOf|WantedBy|RequiredBy|Also|Unit)=(.*)$",
    re.MULTILINE,
)
# coreos-cloudinit puts the host's addresses in place of these, anywhere in the text.
_SUBSTITUTED = re.compile(r"\$(?:private|public)_ipv[46]")


def units(user_data: str) -> dict[str, HostFile]:
    """The systemd units and drop-ins among the files, by path."""
    return {path: file for path, file in host_files(user_data).items() if path.startswith(UNIT_DIRECTORY)}


def placeholders_where_allowed(source: str) -> list[str]:
    """Placeholders stand only in the environment file (`NAME='@@NAME@@'`) and as whole base64 entries."""
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
    return [f"{ENVIRONMENT_FILE}: {line!r} is not NAME='@@NAME@@'" for line in bad]


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
        entry["path"] for entry in cloud_config(source)["write_files"] if placeholders(str(entry.get("content")))
    }
    # "AAAA" is valid base64 as well as text.
    return {
        path: None if path in dynamic else file for path, file in host_files(PLACEHOLDER.sub("AAAA", source)).items()
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


def unit_references_known(text: str) -> list[str]:
    """Every unit that a unit names is in write_files, or one that the image brings along."""
    written = {path.removeprefix(UNIT_DIRECTORY) for path in units(text)}
    violations = []
    for path, file in units(text).items():
        for setting in _REFERENCE.finditer(file.content.decode()):
            unknown = [n for n in setting[1].split() if _file_of(n) not in written and not _is_of_image(n)]
            violations += [f"{path}: {setting[0].split('=')[0]}= names {name}" for name in unknown]
    return violations


def _is_of_image(unit: str) -> bool:
    return unit in IMAGE_UNITS or unit.startswith("dev-") or unit.endswith((".mount", ".slice"))


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
        if not re.fullmatch(r"0[0-7]{3}", str(entry.get("permissions", "0644"))):
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


# What every rendered user-data must keep to.
RULES: tuple[Callable[[str], list[str]], ...] = (
    loaders_agree,
    unit_references_known,
    unit_bodies_once,
    enabled_units_installable,
    no_coreos_substitution,
    modes_safe,
    environment_lines,
)
