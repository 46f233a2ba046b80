"""A fake upstream registry: as fast as nginx serves files, and slow, failing or down on command.

upstream = FakeUpstream.start(client, "load", network, labels)
upstream.add([Recipe("library/sample", "1", (20.0,))])
upstream.inject(delay_s=0.1), upstream.inject(status=429), upstream.clear_faults()
upstream.limit(megabits), upstream.kill(), upstream.restart()
upstream.counters()["bytes"]        # since `reset_counters()`
"""

import json
import tempfile
from collections.abc import Iterable, Mapping

import docker
import requests

from loadtests.support.images import CATALOG, Image, Recipe, RegistryFiles
from loadtests.support.registry.protocol import manifest_path
from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images.project import ensure_project_image
from registry_stack.machines.upstream import limit_rate
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback, no_progress

NAME = "upstream.test"
AUTHORITY = f"{NAME}:5000"
URL = f"https://{AUTHORITY}"
FOLDER = "/srv/oci"
CERTIFICATE = "/srv/tls/upstream.crt"
_PLAIN_PORT, _CONTROL_PORT = 8080, 8081


class FakeUpstream:
    """A running upstream. Get one from `FakeUpstream.start` or `FakeUpstream.find`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.files = RegistryFiles()

    @classmethod
    def start(
        cls,
        client: docker.DockerClient,
        prefix: str,
        network: str,
        labels: Mapping[str, str],
        report: ProgressCallback = no_progress,
    ) -> "FakeUpstream":
        """Start an empty upstream as `upstream.test` on an existing network."""
        spec = MachineSpec(
            image=ensure_project_image(client, "load", report),
            name=_container_name(prefix),
            labels=labels,
            network=network,
            aliases=(NAME,),
            ports={_PLAIN_PORT: ("127.0.0.1", None), _CONTROL_PORT: ("127.0.0.1", None)},
            files={f"{FOLDER}/{path}": (content, 0o644) for path, content in RegistryFiles().items()},
        )
        upstream = cls(Machine.boot(client, spec, report))
        upstream._wait_until_ready()
        return upstream

    @classmethod
    def find(cls, client: docker.DockerClient, prefix: str) -> "FakeUpstream | None":
        """The running upstream of the deployment with that name, if it has one."""
        machine = Machine.find(client, _container_name(prefix))
        return cls(machine) if machine is not None and machine.running else None

    def add(self, recipes: Iterable[Recipe], report: ProgressCallback = no_progress) -> list[Image]:
        """Generate images and serve them. Adding an image again generates the same bytes."""
        known = self.files.blobs
        images = []
        for recipe in recipes:
            report(f"generating {recipe.name}, {sum(recipe.layers_mb):.0f} MB")
            images.append(self.files.add(recipe))
        with tempfile.TemporaryFile() as stream:
            self.files.write_tar(stream, FOLDER, known)
            self.machine.container.put_archive("/", stream)
        self.machine.exec(["nginx", "-s", "reload"])
        last = images[-1]
        wait_until(lambda: self._probe_image(last), 60, f"the upstream to serve {last.name}", log=self.machine.logs)
        self.reset_counters()
        return images

    def images(self) -> list[str]:
        """`repo:tag` of every image that it serves, in the order they were added."""
        return list(json.loads(self.machine.read(f"{FOLDER}/{CATALOG}")))

    def corrupt(self, image: Image) -> None:
        """Change one byte of the last layer without changing its digest."""
        path = f"{FOLDER}/blobs/{image.layers[-1].digest}"
        self.machine.exec(["sh", "-euc", f"printf X | dd of={path} bs=1 seek=600 conv=notrunc status=none"])

    def inject(self, delay_s: float = 0, status: int = 0) -> None:
        """Delay every response, or answer every request with an HTTP status. This replaces earlier faults."""
        self._control("settings", delay=delay_s, status=status)

    def clear_faults(self) -> None:
        """Respond at once and properly again."""
        self.inject()

    def limit(self, megabits: float | None) -> None:
        """Limit the link that all clients share, in Mbit/s; None removes the limit."""
        limit_rate(self.machine.client, self.machine, megabits, "load")

    def counters(self) -> dict[str, int]:
        """Since the last reset: requests, bytes, blob_get, manifest_get, manifest_head, …; zero counters are absent."""
        return {name: int(value) for name, value in self._control("counters").json().items()}

    def reset_counters(self) -> None:
        """Start counting from zero."""
        self._control("reset")

    def kill(self) -> None:
        """Kill it: connections break, and its name no longer resolves."""
        self.machine.container.kill()

    def restart(self) -> None:
        """Start it after `kill`, with all its images and without faults."""
        self.machine.container.start()
        self._wait_until_ready()

    @property
    def url(self) -> str:
        """Its plain HTTP address on the Docker host."""
        return f"http://127.0.0.1:{self.machine.port(_PLAIN_PORT)}"

    @property
    def ca(self) -> str:
        """The certificate that clients of `URL` must trust, PEM."""
        return self.machine.read(CERTIFICATE).decode()

    def _wait_until_ready(self) -> None:
        wait_until(self._probe, 30, self.machine.name, log=self.machine.logs)

    def _probe(self) -> str | None:
        """A probe of both of its servers."""
        if not self.machine.running:
            return f"stopped: {self.machine.logs()[-300:]}"
        code = requests.get(f"{self.url}/v2/", timeout=5).status_code
        self._control("counters")
        return None if code == 200 else f"HTTP {code}"

    def _probe_image(self, image: Image) -> str | None:
        """A probe: new workers have loaded the new list, and no old worker is left that could answer or hang up."""
        old = self.machine.exec(
            ["sh", "-c", "grep -l 'is shuttin[g] down' /proc/[0-9]*/cmdline 2>/dev/null"], check=False
        )
        if old.out:
            return "the old workers are still running"
        code = requests.head(f"{self.url}{manifest_path(image.repo, image.reference)}", timeout=5).status_code
        return None if code == 200 else f"HTTP {code}"

    def _control(self, path: str, **query: float) -> requests.Response:
        port = self.machine.port(_CONTROL_PORT)
        response = requests.get(f"http://127.0.0.1:{port}/{path}", params=query, timeout=10)
        response.raise_for_status()
        return response


def _container_name(prefix: str) -> str:
    return f"{prefix}-upstream"
