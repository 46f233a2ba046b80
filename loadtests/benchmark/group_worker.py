"""Clients of a group that pull and push until a file appears, and a check of what has been pushed.

    python3 -m loadtests.benchmark.group_worker --until=FILE --login=FILE CA-FILE MIRROR,… REGISTRY,… REPOSITORY:TAG …
    python3 -m loadtests.benchmark.group_worker --read-back --login=FILE CA-FILE MIRROR,… REGISTRY,… < acknowledged.json

The benchmark runs it on the client machine, as the pull worker.
"""

import base64
import json
import os
import secrets
import socket
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtests.benchmark.pull_worker import Client, members_for
from loadtests.support.registry import protocol

_LAYER_BYTES = 200_000
# Between two pulls or pushes of one client, and before it tries again.
_PAUSE_S, _RETRY_S = 0.1, 1.0
_CONNECT_S = 5


def _write(**result: Any) -> None:
    """Print one line of JSON. A line is one write, so that threads do not mix theirs."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def _pull(options: Namespace, number: int, count: int) -> None:
    repo, _colon, tag = options.images[(number + count) % len(options.images)].rpartition(":")
    client = Client(members_for(options.mirrors, number), options.ca, options.timeout)
    try:
        protocol.drive(protocol.pull(repo, tag), client.send)
        _write(kind="pull", failed="", wrong=False, failovers=len(client.failed))
    except protocol.RequestError as error:
        _write(kind="pull", failed=str(error), wrong=isinstance(error, protocol.WrongBytesError), failovers=0)
        time.sleep(_RETRY_S)
    finally:
        client.close()


def _push(options: Namespace, number: int, count: int) -> None:
    """Push an image and, when that fails, once more, as a person would."""
    repo, tag, layer = f"group/{options.run}-{number}", str(count), os.urandom(_LAYER_BYTES)
    members, failures = members_for(options.registries, number), list[str]()
    for _try in range(2):
        url = _first_that_connects(members)
        client = Client([url], options.ca, options.timeout, _login(options))
        try:
            image = protocol.drive(protocol.push(repo, tag, [layer]), client.send)
            _write(kind="push", failures=failures, pushed=[repo, tag, image.digest])
            return
        except protocol.RequestError as error:
            failures.append(f"{url}: {error}")
            time.sleep(_RETRY_S)
        finally:
            client.close()
    _write(kind="push", failures=failures, pushed=None)


def _first_that_connects(urls: Sequence[str]) -> str:
    """Which address Docker takes of a name that has several; the first if none connects."""
    for url in urls:
        parts = urlsplit(url)
        with suppress(OSError), socket.create_connection((parts.hostname, parts.port or 443), _CONNECT_S):
            return url
    return urls[0]


def _read_back(options: Namespace) -> None:
    """Pull what standard input lists; print a line for each: what is wrong with it, or nothing."""
    for number, (repo, tag, digest) in enumerate(json.load(sys.stdin)):
        client = Client(members_for(options.registries, number)[:1], options.ca, options.timeout, _login(options))
        try:
            found = protocol.drive(protocol.fetch_image(repo, tag), client.send).digest
            _write(name=f"{repo}:{tag}", wrong="" if found == digest else f"{found} instead of {digest}")
        except protocol.RequestError as error:
            _write(name=f"{repo}:{tag}", wrong=str(error))
        finally:
            client.close()


def _login(options: Namespace) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(Path(options.login).read_bytes().strip()).decode()}"}


def _repeat(options: Namespace, number: int, work: Callable[[Namespace, int, int], None]) -> None:
    count, until = 0, Path(options.until)
    while not until.exists():
        work(options, number, count)
        count += 1
        time.sleep(_PAUSE_S)


def main() -> None:
    """Run the clients."""
    parser = ArgumentParser(description="Print a line of JSON for each pull, push or image that was read back.")
    parser.add_argument("--pullers", type=int, default=6)
    parser.add_argument("--pushers", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=60, help="seconds that a client waits for the next bytes")
    parser.add_argument("--until", default="", help="file whose appearance ends it")
    parser.add_argument("--read-back", action="store_true")
    parser.add_argument("--login", required=True, help="file with USER:PASSWORD of the registry")
    parser.add_argument("ca")
    for name in ("mirrors", "registries"):
        parser.add_argument(name, type=lambda urls: urls.split(","), help="URLs of the members, separated by commas")
    parser.add_argument("images", nargs="*")
    options = parser.parse_args()
    if options.read_back:
        _read_back(options)
        return
    options.run = secrets.token_hex(3)
    work = [_pull] * options.pullers + [_push] * options.pushers
    with ThreadPoolExecutor(len(work)) as pool:
        done = [pool.submit(_repeat, options, number, one) for number, one in enumerate(work)]
    for one in done:
        one.result()


if __name__ == "__main__":
    main()
