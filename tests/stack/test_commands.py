"""By hand: both commands of python-heatclient, `openstack stack …` and its own `heat …`, give the same stack."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry_stack.lab import credentials
from registry_stack.product import TEMPLATE
from tests.stack.openstack import command
from tests.support.lab import UsedLab

pytestmark = pytest.mark.long

# Of each resource in a preview: what it is; of the server also what it is handed.
FACTS = re.compile(r'"(?:resource_type|user_data)": ".*?"(?=[,\s|])')


def heat(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """python-heatclient's own command, which reads OS_* only, as the lab's openrc has them."""
    script = 'unset ${!OS_*}; . "$1"; shift; exec "$@"'
    line = ["bash", "-euc", script, "bash", str(folder / credentials.OPENRC), sys.executable, "-m", "heatclient.shell"]
    return subprocess.run([*line, *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_both_commands_give_the_same_stack(lab: UsedLab) -> None:
    folder, environment = lab.folder, str(lab.environment)
    new = command(lab, "stack", "create", "--dry-run", "-e", environment, "-t", str(TEMPLATE), "previewed")
    old = heat(folder, "stack-preview", "-e", environment, "-f", str(TEMPLATE), "previewed")
    assert (new.returncode, old.returncode) == (0, 0), new.stderr + old.stderr
    facts = sorted(FACTS.findall(new.stdout))
    assert any(fact.startswith('"user_data": "#cloud-config') for fact in facts)
    assert '"resource_type": "OS::Heat::SoftwareDeployment"' in facts
    assert sorted(FACTS.findall(old.stdout)) == facts
