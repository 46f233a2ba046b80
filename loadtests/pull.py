r"""Measures pulls of popular images through the mirror: hit latency, throughput, hit ratio; verifies every digest.

    locust -f loadtests/pull.py          # the mirror of `tox -e deploy`; web UI at http://localhost:8089
    locust -f loadtests/pull.py --headless -u 10 -t 1m
    locust -f loadtests/pull.py --headless -u 10 -t 1m --host https://mirror.example.com --ca ca.crt \
      --images library/alpine:3.20,library/nginx:1.27

A user is a Docker host that pulls one image after another, chosen by Zipf's law.
"""

from locust import FastHttpUser, task

from loadtests.support.scenario import Scenario
from loadtests.support.thresholds import FAILURES, HIT_LATENCY, HIT_RATIO, PULLS, THROUGHPUT

scenario = Scenario("pull", __doc__, [*HIT_LATENCY, HIT_RATIO, THROUGHPUT, PULLS, FAILURES])


class DockerHost(FastHttpUser):
    """A Docker host that pulls images."""

    def on_start(self) -> None:
        """Open connections that no other user shares."""
        self.registry = scenario.client(self)

    @task
    def pull(self) -> None:
        """Pull one image."""
        self.registry.pull(*scenario.choose())
