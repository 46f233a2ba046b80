"""Runs tests/unit under the newest Python that Debian has, in a container: `python -m tests.newest_python`.

What needs a package that Debian lacks is left out: the dashboard's check, which needs Grafana's SDK, and the parsers of
the host's page. The scripts are checked by the other run, with the programs that pyproject.toml names.
"""

import subprocess
import sys
from pathlib import Path

from registry_stack.docker.archive import pack
from registry_stack.docker.engine import engine
from registry_stack.images.project import ensure_project_image

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (
    "--ignore=tests/unit/test_follow_stack.py",
    "--ignore=tests/unit/test_monitoring.py",
    "--ignore=tests/unit/template/test_page_and_scripts.py",
    "--deselect=tests/unit/template/test_repository.py::test_scripts_pass_shellcheck",
    "--deselect=tests/unit/template/test_repository.py::test_scripts_are_formatted",
    "--deselect=tests/unit/template/test_linters.py::test_shfmt",
)


def main(arguments: list[str]) -> int:
    """Pytest's exit code."""
    client = engine(print)
    image = ensure_project_image(client, "python", print)
    command = [
        "python3",
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        *LEFT_OUT,
        *(arguments or ["tests/unit"]),
    ]
    container = client.containers.create(
        image, command, working_dir="/project", network_mode="none", tty=sys.stdout.isatty()
    )
    try:
        container.put_archive("/", pack({f"/project/{name}": (ROOT / name, _mode(name)) for name in _files()}))
        container.start()
        for chunk in container.logs(stream=True, follow=True):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True, v=True)


def _files() -> list[str]:
    """What is in the repository, and what may come to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def _mode(name: str) -> int:
    return (ROOT / name).stat().st_mode & 0o777


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
