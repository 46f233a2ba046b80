r"""Measures pushes to the registry on :5000, made as Docker makes them, read back and verified.

    locust -f loadtests/push.py --headless -u 5 -t 1m            # the registry of `tox -e deploy`, with its login

A user is a build server: it pushes images with three layers, of which only the last changes.
"""

import os
import secrets

from locust import FastHttpUser, task

from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import FAILURES, PUSH_LATENCY, PUSHES

scenario = Scenario("push", __doc__, [PUSH_LATENCY, PUSHES, FAILURES], warm=False, pulls=False, pushes=True)
_MB = 1_000_000


class BuildServer(FastHttpUser):
    """A build server that pushes images."""

    def on_start(self) -> None:
        """Open connections and choose a repository that no other user shares."""
        self.registry = scenario.client(self, push=True)
        self.repo = f"loadtests/{secrets.token_hex(4)}"
        self.base = [os.urandom(int(size * _MB * scenario.options.scale)) for size in (10, 3)]
        self.builds = 0

    @task
    def push(self) -> None:
        """Push one image."""
        self.builds += 1
        top = os.urandom(int(2 * _MB * scenario.options.scale))
        self.registry.push(self.repo, str(self.builds), [*self.base, top])
