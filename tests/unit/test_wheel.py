"""The wheel works away from the checkout that it was built from; tests/host deploys from it."""

from pathlib import Path

import pytest

from registry_stack.client_config import CLIENTS, client_configuration
from registry_stack.deployment import Deployment
from tests.support.commands import ROOT
from tests.support.wheel import InstalledWheel, install_wheel

DEPLOYMENT = Deployment("local", "docker_registry", "https://localhost", "https://localhost:5000", "/c", "docker", "/p")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> InstalledWheel:
    return install_wheel(tmp_path_factory.mktemp("wheel"))


def test_client_config_is_rendered_from_the_wheel(wheel: InstalledWheel, tmp_path: Path) -> None:
    (tmp_path / DEPLOYMENT.name).mkdir()
    (tmp_path / DEPLOYMENT.name / "deployment.json").write_text(DEPLOYMENT.as_json())
    done = wheel.run("client-config", CLIENTS[0], REGISTRY_STACK_STATE=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == client_configuration(CLIENTS[0], DEPLOYMENT)


def test_messages_name_the_console_script(wheel: InstalledWheel, tmp_path: Path) -> None:
    done = wheel.run("status", REGISTRY_STACK_STATE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == ('error: nothing is deployed under the name "docker_registry": run `registry-stack deploy`\n')


def test_images_are_built_from_the_same_files(wheel: InstalledWheel) -> None:
    """An image is known by the content and the mode of its files: another mode would build it again."""
    assert image_files(wheel.package) == image_files(ROOT / "registry_stack")


def image_files(package: Path) -> dict[str, tuple[int, bytes]]:
    found = [path for path in (package / "images").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert found
    return {str(path.relative_to(package)): (path.stat().st_mode & 0o111, path.read_bytes()) for path in found}
