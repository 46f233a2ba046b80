"""Writes the time at random moments, a line each, until its standard input ends: see lateness."""

import random
import signal
import sys
import time
from select import select

_PER_SECOND = 50


def main() -> None:
    """Random, because regular moments could keep step with the work that they are to interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while not select([sys.stdin], [], [], random.expovariate(_PER_SECOND))[0]:
        sys.stdout.write(f"{time.monotonic()!r}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
