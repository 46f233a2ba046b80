"""Lets environments share one virtual environment: tox itself makes a new one whenever the environment's name changes.

Used by `runner = shared` in tox.ini.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tox.plugin import impl
from tox.tox_env.info import Info
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class _SharedInfo(Info):
    """What tox remembers of a virtual environment, with one name for all that share it."""

    @contextmanager
    def compare(self, value: Any, section: str, sub_section: str | None = None) -> Iterator[tuple[bool, Any]]:
        shared = value | {"name": "shared"} if section == "ToxEnv" else value
        with super().compare(shared, section, sub_section) as result:
            yield result


class _SharedRunner(VirtualEnvRunner):
    """tox's ordinary runner, with that memory."""

    _info: Info | None = None

    @staticmethod
    def id() -> str:
        return "shared"

    @property
    def cache(self) -> Info:
        self._info = self._info or _SharedInfo(self.env_dir)
        return self._info


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Called by tox."""
    register.add_run_env(_SharedRunner)
