"""The folder in which the commands remember deployments."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def own_state(keep: str, factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of this run instead of the user's; for deployments that are kept under a name, the same each time."""
    folder = Path("/tmp/registry-stack-tests") / keep if keep else factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_STACK_STATE", str(folder))
        yield folder
