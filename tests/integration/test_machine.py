"""A machine that does not run any more: who asks it for something learns why it ended."""

import pytest

from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.errors import RegistryStackError
from registry_stack.images.project import ensure_project_image
from tests.integration.session import Run


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo no disk; exit 3", "has stopped with exit code 3: no disk"),
        ("exit 3", "has stopped with exit code 3: its console is empty"),
        # As systemd does where it cannot watch files: seen on a machine where all instances of inotify were taken.
        ("exit 255", "`sysctl fs.inotify.max_user_instances=1024`"),
    ],
)
def test_tells_why_it_has_stopped(this_run: Run, command: str, told: str) -> None:
    image = ensure_project_image(this_run.client, "host")
    name = f"{this_run.prefix}-stopped"
    machine = Machine.boot(
        this_run.client, MachineSpec(image=image, name=name, labels=this_run.labels, entrypoint=("sh", "-c", command))
    )
    machine.container.wait()
    with pytest.raises(RegistryStackError) as raised:
        machine.exec(["true"])
    machine.remove()
    assert told in str(raised.value)
