"""What is kept of a failed test: one folder per run, one below it per test, named in the report of the test."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

# Enough to see what went wrong first; the rest is mostly its consequence.
_MOST = 15

Collect = Callable[[Path], None]


class Evidence:
    """The folder of a run, made when the first test fails."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.folder: Path | None = None
        self.kept = 0

    def keep(self, test: str, collect: Collect) -> str:
        """Have `collect` write into the folder of a test, whose path is returned; errors of it are noted there."""
        self.kept += 1
        if self.kept > _MOST:
            return "not collected: too many tests have failed before"
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix=f"registry-stack-{self.suite}-"))
        folder = self.folder / re.sub(r"[^\w.-]+", "_", test)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            collect(folder)
        except Exception as error:
            (folder / "not-collected.txt").write_text(f"{type(error).__name__}: {error}\n")
        return str(folder)
