"""Which of the collected tests are whose: the hooks of a conftest.py get those of all suites of a run."""

from collections.abc import Iterable
from pathlib import Path

import pytest


def below(conftest: str, items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests in the folder of this conftest.py."""
    folder = Path(conftest).parent
    return [item for item in items if item.path.is_relative_to(folder)]
