"""`registry-stack deploy` from an installed wheel and an empty directory."""

import json
import secrets
from pathlib import Path

from registry_stack.targets.local import target as local
from tests.support.commands import deploy
from tests.support.wheel import install_wheel

NAME = f"hosttest-wheel-{secrets.token_hex(4)}"


def test_deploys_from_an_empty_directory(tmp_path: Path) -> None:
    wheel = install_wheel(tmp_path)
    try:
        deployed = wheel.run(*deploy(NAME, "--json"))
        assert deployed.returncode == 0, deployed.stderr
        assert json.loads(deployed.stdout)["name"] == NAME
        status = wheel.run("status", "--name", NAME, "--json")
        assert json.loads(status.stdout)["healthy"] is True
        assert not list(wheel.elsewhere.iterdir())
    finally:
        local.destroy(NAME)
