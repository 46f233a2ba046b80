"""Outages of an upstream, which end with the context."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.support.upstream import Upstream

Outage = Callable[[Upstream], AbstractContextManager[None]]


@contextmanager
def gone(upstream: Upstream) -> Iterator[None]:
    """Connections to it fail."""
    upstream.stop()
    try:
        yield
    finally:
        upstream.start_again()


@contextmanager
def hanging(upstream: Upstream) -> Iterator[None]:
    """It does not answer."""
    upstream.pause()
    try:
        yield
    finally:
        upstream.unpause()


@contextmanager
def refusing(upstream: Upstream) -> Iterator[None]:
    """It answers 429 to everything."""
    upstream.limit()
    try:
        yield
    finally:
        upstream.unlimit()
