"""Runs on the measured machine, with the standard library alone: makes a cache, and measures a command."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from hashlib import sha256
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

STORE = Path("/var/lib/registry/proxy/docker/registry/v2")
# Blobs of which one should be evicted first.
OLDEST = Path("/var/lib/registry/oldest")
# Real blobs up to this many, which take the space that they claim; beyond, sparse ones.
_REAL = 100_000
_BLOB, _MANIFEST = 70_000, 1_000
_POLL_S = 0.02


def make(options: Namespace) -> None:
    """Make a store: three of four blobs may be evicted. A repository has its share of layers, and tags."""
    chance, blobs = random.Random(1), []
    for number in range(options.blobs):
        digest = sha256(str(number).encode()).hexdigest()
        folder = STORE / "blobs/sha256" / digest[:2] / digest
        folder.mkdir(parents=True)
        size = _BLOB if number % 4 else _MANIFEST
        with (folder / "data").open("wb") as file:
            if options.blobs <= _REAL:
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        used = chance.randrange(1_600_000_000, 1_700_000_000)
        os.utime(folder, (used, used))
        blobs.append((used, digest, size))
    oldest = [digest for _used, digest, size in sorted(blobs) if size == _BLOB]
    OLDEST.write_text("\n".join(oldest[: min(500, len(oldest) // 100)]))
    share = max(1, options.blobs // options.repositories)
    for number in range(options.repositories):
        repository = STORE / "repositories" / f"org{number % 100}" / f"app{number}"
        for tag in range(options.tags):
            (repository / "_manifests/tags" / f"1.{tag}").mkdir(parents=True)
        for _used, digest, _size in blobs[number * share : (number + 1) * share]:
            link = repository / "_layers/sha256" / digest
            link.mkdir(parents=True)
            (link / "link").write_text(f"sha256:{digest}")


def measure(options: Namespace) -> None:
    """Run a command, for so many seconds at most, and print what it took."""
    digests = OLDEST.read_text().split() if options.first else []
    oldest = [STORE / "blobs/sha256" / digest[:2] / digest / "data" for digest in digests]
    before, started, first = getrusage(RUSAGE_CHILDREN), time.monotonic(), None
    with subprocess.Popen(options.command, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if first is None and not all(path.exists() for path in oldest):
                first = time.monotonic() - started
            if options.seconds and time.monotonic() - started > options.seconds:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
            time.sleep(_POLL_S)
    after = getrusage(RUSAGE_CHILDREN)
    figures = {
        "wall_s": time.monotonic() - started,
        "processor_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "largest_process_mib": after.ru_maxrss / 1024,
        "first_s": first,
        "blobs": sum(1 for _path in STORE.glob("blobs/sha256/*/*")),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def main() -> None:
    """Make a store, or measure."""
    parser = ArgumentParser()
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make")
    maker.set_defaults(run=make)
    for name in ("blobs", "repositories", "tags"):
        maker.add_argument(name, type=int)
    measurer = commands.add_parser("measure")
    measurer.set_defaults(run=measure)
    measurer.add_argument("--seconds", type=float, default=0)
    measurer.add_argument("--first", action="store_true")
    measurer.add_argument("command", nargs="+")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
