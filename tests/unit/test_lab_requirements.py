"""A machine without room for a lab is refused in words, before anything is started."""

from types import SimpleNamespace
from typing import Any

import pytest

from registry_stack.errors import RegistryStackError
from registry_stack.lab import requirements, settings

_GIB = 1 << 30


def _engine(**info: Any) -> Any:
    return SimpleNamespace(info=lambda: info)


def test_too_little_memory_is_said_with_both_numbers() -> None:
    # Not this machine's total: an engine elsewhere, of which nothing else is known.
    with pytest.raises(RegistryStackError, match=rf"needs {settings.MEMORY_MIB} MiB of memory.* has 2048 MiB in total"):
        requirements.check_memory(_engine(MemTotal=2 * _GIB))


def test_enough_memory_elsewhere_passes() -> None:
    requirements.check_memory(_engine(MemTotal=7777 * _GIB))


def test_too_little_disk_is_said_with_its_place(tmp_path: Any) -> None:
    with pytest.raises(
        RegistryStackError, match=rf"999999 GiB of disk are needed to try, and {tmp_path} has [0-9.]+ GiB"
    ):
        requirements.check_disk(_engine(DockerRootDir=str(tmp_path)), 999999, "to try")


def test_the_disk_of_an_engine_elsewhere_is_not_guessed() -> None:
    requirements.check_disk(_engine(DockerRootDir="/nowhere/docker"), 999999, "to try")
