r"""Measures how much the mirror can do at most: users without a pause pull popular images. It judges no latency.

    locust -f loadtests/throughput.py --headless -u 10 -t 1m

A user is a Docker host that pulls one image after another, chosen by Zipf's law. Where its figure ends, so may what
this machine can hash: a processor does about 0.4 GB/s.
"""

from locust import FastHttpUser, task

from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import FAILURES, HIT_RATIO, PULLS, THROUGHPUT

scenario = Scenario("throughput", __doc__, [THROUGHPUT, HIT_RATIO, PULLS, FAILURES])


class DockerHost(FastHttpUser):
    """A Docker host that pulls images."""

    def on_start(self) -> None:
        """Open connections that no other user shares."""
        self.registry = scenario.client(self)

    @task
    def pull(self) -> None:
        """Pull one image."""
        self.registry.pull(*scenario.choose())
