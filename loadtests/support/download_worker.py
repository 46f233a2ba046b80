"""Downloads and hashes layers for a load test, in a separate process.

A line of JSON on standard input is a request, one on standard output its outcome; they belong together by their `id`.
An empty line on standard output says that it is ready.
"""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loadtests.support.registry import protocol
from loadtests.support.registry.https import HttpsClient, Pace

# More downloads at once would wait for each other.
_THREADS = 1000
# Hashing has time; the process that measures latency, and a mirror on the same machine, have not.
_NICENESS = 5


def download(client: HttpsClient, wanted: dict[str, Any]) -> dict[str, Any]:
    """Download one layer and keep nothing of it."""
    request = protocol.Request("layer", "GET", wanted["path"], digest=wanted["digest"], keep=False)
    began, pace = time.perf_counter(), Pace()
    outcome: dict[str, Any]
    try:
        response = client.request(request, pace)
        outcome = {"digest": response.digest, "size": response.size, "headers": dict(response.headers)}
    except protocol.RequestError as error:
        outcome = {"error": str(error), "wrong": isinstance(error, protocol.WrongBytesError)}
    times = {"first_s": pace.first_s, "longest_gap_s": pace.longest_gap_s}
    return {"id": wanted["id"], "ms": (time.perf_counter() - began) * 1000, **times, **outcome}


def main(ca_file: str, timeout_s: str, *urls: str) -> None:
    """Serve requests to these URLs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    clients = {url: HttpsClient(url, ca_file, float(timeout_s)) for url in urls}
    print(flush=True)

    def serve(wanted: dict[str, Any]) -> None:
        # A line is one write, so that threads do not mix theirs.
        sys.stdout.write(json.dumps(download(clients[wanted["url"]], wanted)) + "\n")
        sys.stdout.flush()

    with ThreadPoolExecutor(_THREADS) as pool:
        for line in sys.stdin:
            pool.submit(serve, json.loads(line))
        # Nobody wants the rest any more.
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
