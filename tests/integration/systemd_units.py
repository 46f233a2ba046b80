"""The host's systemd units: what they run, and in which order they start."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from registry_stack.userdata.host_files import UNIT_DIRECTORY, HostFile

_SETTING = re.compile(r"(\w+)=(.*)")


@dataclass(frozen=True)
class Unit:
    """A service: its settings as they stand in its file, several of a name in their order."""

    name: str
    settings: Mapping[str, tuple[str, ...]]

    def words(self, setting: str) -> set[str]:
        """The services in a setting that is a list of units, without `.service`."""
        names = " ".join(self.settings.get(setting, ())).split()
        return {name.removesuffix(".service") for name in names if name.endswith(".service")}

    @property
    def oneshot(self) -> bool:
        """Does it do its work and end?"""
        return "oneshot" in self.settings.get("Type", ())

    @property
    def commands(self) -> list[tuple[str, bool]]:
        """What runs when it starts, and whether a failure counts."""
        lines = (*self.settings.get("ExecStartPre", ()), *self.settings.get("ExecStart", ()))
        return [(line.removeprefix("-"), not line.startswith("-")) for line in lines]


def read_units(files: Mapping[str, HostFile]) -> dict[str, Unit]:
    """The services among the files, by name."""
    found = {}
    for path, file in files.items():
        if path.startswith(UNIT_DIRECTORY) and path.endswith(".service"):
            name = path.removeprefix(UNIT_DIRECTORY).removesuffix(".service")
            found[name] = Unit(name, _settings(file.content.decode()))
    return found


def unit_of(units: Mapping[str, Unit], name: str) -> Unit:
    """A unit, or an instance `a@b` of the template `a@`."""
    start, at, instance = name.partition("@")
    settings = {
        key: tuple(line.replace("%i", instance).replace("%N", name) for line in lines)
        for key, lines in units[start + at].settings.items()
    }
    return Unit(name, settings)


def start_order(units: Mapping[str, Unit], wanted: Iterable[str]) -> list[str]:
    """The wanted units and what they need, each after what its `After=` names."""
    needed: set[str] = set()
    _add_needed(units, wanted, needed)
    after = {name: unit_of(units, name).words("After") & needed for name in needed}
    return list(TopologicalSorter(after).static_order())


def _add_needed(units: Mapping[str, Unit], wanted: Iterable[str], needed: set[str]) -> None:
    for name in wanted:
        if name not in needed:
            needed.add(name)
            unit = unit_of(units, name)
            more = unit.words("Requires") | unit.words("Wants")
            # The engine's own unit is none of the host's files.
            _add_needed(units, more & units.keys(), needed)


def _settings(text: str) -> dict[str, tuple[str, ...]]:
    settings: dict[str, tuple[str, ...]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        match = _SETTING.fullmatch(line)
        if match:
            settings[match[1]] = (*settings.get(match[1], ()), match[2])
    return settings
