"""How long a garbage collection of a large store takes, and that it takes nothing that is in use."""

import time

import pytest

from tests.integration.host import EDGE, REDIS, REGISTRY, MakeHost
from tests.integration.large_store import store_garbage, store_images
from tests.integration.swift import Swift

CONTAINER = "large"
LIMIT_S = 4 * 3600


@pytest.mark.long
def test_twenty_thousand_blobs_in_swift(
    make_storing_host: MakeHost, swift: Swift, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes an hour or more where all processors together are two. docs/operations.md has the figure."""
    host = make_storing_host(CONTAINER, **swift.parameters(CONTAINER)).start(REDIS, REGISTRY, EDGE)
    used = store_images(swift, CONTAINER, repositories=20, images=100)
    garbage = store_garbage(swift, CONTAINER, 2_000)
    began, command = time.monotonic(), ["env", "GC_QUIET=0", f"GC_WINDOW={LIMIT_S}", "/opt/registry/registry-gc"]
    done = host.machine.exec(command, check=False, timeout=2 * LIMIT_S)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{used} blobs in use, {len(garbage)} garbage: {seconds:.0f} s in all; {done.out.splitlines()[0]}")
    assert done.code == 0, done.err
    assert [path for path in garbage if swift.head(CONTAINER, path).status_code != 404] == []
    for repository in range(20):
        host.registry.pull(f"large/{repository}", "last")
