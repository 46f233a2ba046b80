"""A lock between runs: one at a time, and whoever waits says so."""

import threading
from pathlib import Path

from registry_stack.file_lock import file_lock
from registry_stack.progress import no_progress


def test_second_holder_waits_and_says_so(tmp_path: Path) -> None:
    steps: list[str] = []
    waiting, done = threading.Event(), threading.Event()

    def report(step: str) -> None:
        steps.append(step)
        waiting.set()

    def second() -> None:
        with file_lock(tmp_path / "lock", report, "waiting"):
            steps.append("second")
        done.set()

    with file_lock(tmp_path / "lock", no_progress, "never said"):
        threading.Thread(target=second, daemon=True).start()
        assert waiting.wait(30)
        steps.append("first")
    assert done.wait(30)
    assert steps == ["waiting", "first", "second"]
