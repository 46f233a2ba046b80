"""Flatcar's coreos-cloudinit, as far as cloud-config/docker-host.yaml needs it: what it knows, and what it does.

Flatcar's image cannot be had where these tests run, so a machine runs this file in its place: `coreos-cloudinit
--from-file=FILE`, at every boot. It needs Python and PyYAML only. What the real one knows and this one cannot do
(users, host name, masks, /etc/environment and so on) is refused, never passed over.

Where there is the real program, tests/host/test_flatcar.py runs it instead: REGISTRY_STACK_COREOS_CLOUDINIT=FILE.

Source of every fact: github.com/flatcar/coreos-cloudinit at commit 8df59e8f39474510fbde9440f16b5587b9a3c82d, in the
file named beside it.
"""

import base64
import gzip
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# A leaf is a type, or the pattern of the texts it may have (the tag `valid:` there); [x] is a list of x.
Shape = type | re.Pattern[str] | list[Any] | dict[str, Any]

ENCODING = re.compile(r"base64|b64|gz|gzip|gz\+base64|gzip\+base64|gz\+b64|gzip\+b64")
KEYS: dict[str, Shape] = {  # config/config.go, CloudConfig
    "ssh_authorized_keys": [str],
    "hostname": str,
    "manage_etc_hosts": str,  # config/etc_hosts.go
    "write_files": [  # config/file.go
        {
            "encoding": ENCODING,
            "content": str,
            "owner": str,
            "path": str,
            "permissions": re.compile("0?[0-7]{3,4}"),
        }
    ],
    "users": [  # config/user.go, without what is deprecated there: coreos_ssh_import_*
        {
            "name": str,
            "passwd": str,
            "ssh_authorized_keys": [str],
            "gecos": str,
            "homedir": str,
            "no_create_home": bool,
            "primary_group": str,
            "groups": [str],
            "no_user_group": bool,
            "system": bool,
            "no_log_init": bool,
            "shell": str,
        }
    ],
    "coreos": {  # config/config.go, CoreOS, without what is deprecated there: etcd, etcd2, fleet
        "flannel": dict,  # config/flannel.go, any key: of no use to us
        "locksmith": dict,  # config/locksmith.go, any key: the same
        "oem": dict.fromkeys(("id", "name", "version_id", "home_url", "bug_report_url"), str),  # config/oem.go
        "update": {  # config/update.go
            "reboot_strategy": re.compile("etcd-lock|reboot|off"),
            "group": str,
            "server": str,
        },
        "units": [  # config/unit.go
            {
                "name": str,
                "mask": bool,
                "enable": bool,
                "runtime": bool,
                "content": str,
                "command": re.compile("start|stop|restart|reload|try-restart|reload-or-restart|reload-or-try-restart"),
                "drop_ins": [{"name": str, "content": str}],
            }
        ],
    },
}
# What `apply` does of them; a `name` or `path` that is missing is its caller's mistake.
APPLIED: dict[str, Shape] = {
    "write_files": KEYS["write_files"],
    "coreos": {"units": [{"name": str, "enable": bool, "command": str}]},
}


@dataclass(frozen=True)
class File:
    """What it writes: system/file.go, WriteFile. An empty `owner` leaves the file root's."""

    path: str
    content: bytes
    mode: int
    owner: str


def warnings(text: str, shape: Shape | None = None) -> list[str]:
    """What `coreos-cloudinit -validate` objects to: config/validate/rules.go.

    An unknown key is warned of and otherwise ignored; the rest is an error there. Stricter in two: `drop-ins` passes
    there and is not applied; permissions that are not quoted are right there and another number elsewhere.
    """
    document = yaml.safe_load(text)
    found = list(_objections(document, KEYS if shape is None else shape, ""))
    for number, entry in enumerate(document.get("write_files") or []):
        # checkWriteFiles: /usr is read-only there.
        if str(entry.get("path", "")).startswith("/usr/"):
            found.append(f"write_files.{number}.path: file cannot be written to a read-only filesystem")
    return found


def _objections(value: Any, shape: Shape, where: str) -> Iterator[str]:
    if isinstance(shape, dict) and isinstance(value, dict):
        for name, item in value.items():
            key = f"{where}.{name}".lstrip(".")
            if name in shape:
                yield from _objections(item, shape[name], key)
            else:
                yield f'unrecognized key "{key}"'
    elif isinstance(shape, list) and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _objections(item, shape[0], f"{where}.{number}")
    elif isinstance(shape, re.Pattern):
        if str(value) and not shape.fullmatch(str(value)):
            yield f"{where}: invalid value {value!r}"
    elif not isinstance(shape, type) or not _compatible(value, shape):
        yield f"{where}: incorrect type {type(value).__name__}"


def _compatible(value: Any, wanted: type) -> bool:
    """config/validate/rules.go, isCompatible: a text may be written as a number or a truth value."""
    return isinstance(value, (str, int, float, bool) if wanted is str else wanted)


def substitute(text: str, addresses: Mapping[str, str]) -> str:
    """Put this machine's addresses in, anywhere in the text; a backslash before protects: initialize/env.go, Apply."""
    for name, address in addresses.items():
        text = re.sub(rf"([^\\]|^)\${name}", lambda found, new=address: found[1] + new, text)  # type: ignore[misc]
        text = text.replace(f"\\${name}", f"${name}")
    return text


def addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """The addresses, where no metadata gives them: initialize/env.go, NewEnvironment."""
    names = ("public_ipv4", "private_ipv4", "public_ipv6", "private_ipv6")
    return {name: environment.get(f"COREOS_{name.upper()}", "") for name in names}


def files(text: str) -> list[File]:
    """The files of a cloud-config whose addresses are in place, in order; raises ValueError as the real one fails."""
    return [
        File(
            entry["path"],
            decoded(str(entry.get("content", "")), str(entry.get("encoding", ""))),
            int(str(entry.get("permissions") or "0644"), 8),
            entry.get("owner", ""),
        )
        for entry in yaml.safe_load(text).get("write_files") or []
    ]


def decoded(content: str, encoding: str) -> bytes:
    """config/decode.go, DecodeContent. `text/plain`, which cloud-init takes, is an error there."""
    if not encoding:
        return content.encode()
    if not ENCODING.fullmatch(encoding):
        raise ValueError(f'Unsupported encoding "{encoding}"')
    if encoding in ("gz", "gzip"):
        return gzip.decompress(content.encode())
    # Go's decoder passes over line breaks and nothing else.
    plain = base64.b64decode(re.sub(r"[\r\n]", "", content), validate=True)
    return gzip.decompress(plain) if encoding.startswith("gz") else plain


def write(file: File, root: Path = Path("/")) -> None:
    """Under another name first, then in the place of what was there: system/file.go, WriteFile."""
    path = root / file.path.lstrip("/")
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="cloudinit-temp", dir=path.parent)
    with os.fdopen(handle, "wb") as new:
        new.write(file.content)
    Path(name).chmod(file.mode)
    if file.owner:
        subprocess.run(["chown", file.owner, name], check=True)
    Path(name).rename(path)
    print(f"Wrote file {path} to filesystem", flush=True)


def process(units: list[dict[str, Any]]) -> None:
    """Enable all of them, then run their commands: initialize/config.go, processUnits.

    systemd is told to read its files again only where a unit has its text under `units`: ours have none.
    """
    manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
    for unit in units:
        if unit.get("enable"):
            # As there, by D-Bus: `systemctl enable` would have systemd read its files again.
            call = ["busctl", "call", *manager, "EnableUnitFiles", "asbb", "1", unit["name"], "false", "true"]
            subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
            print(f'Enabled unit "{unit["name"]}"', flush=True)
    for unit in units:
        if unit.get("command"):
            print(f'Calling unit command "{unit["command"]}" on "{unit["name"]}"', flush=True)
            subprocess.run(["systemctl", unit["command"], unit["name"]], check=True)


def main(argument: str) -> None:
    """Users, files, units: initialize/config.go, Apply; a cloud-config that cannot be applied changes nothing."""
    given = Path(argument.removeprefix("--from-file=")).read_text(encoding="utf-8")
    if given.split("\n", 1)[0].rstrip() != "#cloud-config":
        raise ValueError("the user-data is no cloud-config")
    for warning in warnings(given):
        print(f"warning: {warning}", flush=True)
    text = substitute(given, addresses(os.environ))
    beyond = [item for item in warnings(text, APPLIED) if item not in warnings(text)]
    if beyond:
        raise ValueError(f"this stand-in cannot apply {', '.join(beyond)}")
    for file in files(text):
        write(file)
    process(yaml.safe_load(text).get("coreos", {}).get("units") or [])


if __name__ == "__main__":
    main(sys.argv[1])
