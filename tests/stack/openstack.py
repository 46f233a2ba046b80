"""The ordinary `openstack` command, against the lab."""

import json
import os
import subprocess
import sys
from typing import Any

from registry_stack.lab import settings
from tests.support.lab import UsedLab


def command(lab: UsedLab, *arguments: str, timeout_s: float = 1000) -> subprocess.CompletedProcess[str]:
    """`openstack …` as its operator, whatever comes of it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    clean |= {"OS_CLIENT_CONFIG_FILE": str(lab.clouds_file), "OS_CLOUD": settings.CLOUD}
    line = [sys.executable, "-m", "openstackclient.shell", *arguments]
    return subprocess.run(line, env=clean, capture_output=True, text=True, timeout=timeout_s, check=False)


def openstack(lab: UsedLab, *arguments: str) -> Any:
    """What it answers, as JSON; it must succeed."""
    done = command(lab, *arguments, "-f", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stack_update(lab: UsedLab, name: str, *options: str, **parameters: str) -> subprocess.CompletedProcess[str]:
    """`openstack stack update` of these parameters with nothing but what Heat has."""
    given = [part for key, value in parameters.items() for part in ("--parameter", f"{key}={value}")]
    return command(lab, "stack", "update", "--existing", *options, *given, name)
