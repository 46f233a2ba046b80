"""An upstream of our own for load tests: as fast as nginx serves files, and slow, refusing or away when told.

standin = FakeUpstream.start(client, "load", network, labels)
standin.add([Recipe("library/sample", "1", (20.0,))])
standin.behave(delay_s=0.1), standin.behave(status=429), standin.limit(megabits), standin.stop(), standin.start_again()
standin.counters()["bytes"]     # what it was asked for since `reset()`
"""

import json
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from io import BytesIO

import docker
import requests

from loadtests.support.images import Image, Recipe, Tree
from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images.project import ensure_project_image
from registry_stack.machines.upstream import limit_rate
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback, no_progress

NAME = "upstream.test"
AUTHORITY = f"{NAME}:5000"
URL = f"https://{AUTHORITY}"
FOLDER = "/srv/oci"
_CATALOG = "/srv/images.json"
_PLAIN, _SETTINGS = 8080, 8081


class FakeUpstream:
    """A running upstream. Get one from `FakeUpstream.start` or `FakeUpstream.find`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tree = Tree()

    @classmethod
    def start(
        cls,
        client: docker.DockerClient,
        prefix: str,
        network: str,
        labels: Mapping[str, str],
        report: ProgressCallback = no_progress,
    ) -> "FakeUpstream":
        """Start an empty one as `upstream.test` on a network that exists."""
        spec = MachineSpec(
            image=ensure_project_image(client, "load", report),
            name=_name(prefix),
            labels=labels,
            network=network,
            aliases=(NAME,),
            ports={_PLAIN: ("127.0.0.1", None), _SETTINGS: ("127.0.0.1", None)},
            files={f"{FOLDER}/images.conf": (Tree().conf().encode(), 0o644), _CATALOG: (b"[]", 0o644)},
        )
        return cls(Machine.boot(client, spec, report))._wait()

    @classmethod
    def find(cls, client: docker.DockerClient, prefix: str) -> "FakeUpstream | None":
        """The one beside a deployment of that name, if there is one."""
        machine = Machine.find(client, _name(prefix))
        return cls(machine) if machine is not None and machine.running else None

    def add(self, recipes: Iterable[Recipe], report: ProgressCallback = no_progress) -> list[Image]:
        """Make images and serve them; one that is there already is made again, with the same bytes."""
        known = self.tree.blobs
        made = []
        for recipe in recipes:
            report(f"making {recipe.name}, {sum(recipe.layers_mb):.0f} MB")
            made.append(self.tree.add(recipe))
        self._upload(known)
        self.machine.exec(["nginx", "-s", "reload"])
        probe = made[-1]
        wait_until(lambda: self._serves(probe), 60, f"the upstream to serve {probe.name}", log=self.machine.logs)
        self.reset()
        return made

    def images(self) -> list[str]:
        """`repo:tag` of everything that it serves, in the order it was added."""
        return list(json.loads(self.machine.read(_CATALOG)))

    def corrupt(self, image: Image) -> None:
        """Change one byte of the last layer, whose digest stays what it was."""
        path = f"{FOLDER}/blobs/{image.blobs[-1][0]}"
        self.machine.exec(["sh", "-euc", f"printf X | dd of={path} bs=1 seek=600 conv=notrunc status=none"])

    def behave(self, delay_s: float = 0, status: int = 0) -> None:
        """Wait so long before each answer, and answer everything with this HTTP status, 0 for properly."""
        self._ask("settings", delay=delay_s, status=status)

    def limit(self, megabits: float | None) -> None:
        """Limit the link that all clients share, in Mbit/s; None for no limit."""
        limit_rate(self.machine.client, self.machine, megabits, "load")

    def counters(self) -> dict[str, int]:
        """Since the last reset: requests, bytes, blob_get, manifest_get, manifest_head, …; absent means none."""
        return {name: int(value) for name, value in self._ask("counters").json().items()}

    def reset(self) -> None:
        """Count from zero."""
        self._ask("reset")

    def stop(self) -> None:
        """Kill it: connections break, and its name is unknown."""
        self.machine.container.kill()

    def start_again(self) -> None:
        """Back after `stop`, with all its images and no settings."""
        self.machine.container.start()
        self._wait()

    @property
    def url(self) -> str:
        """Where it is reached from here, without TLS."""
        return f"http://127.0.0.1:{self.machine.port(_PLAIN)}"

    @property
    def ca(self) -> str:
        """The certificate that those who use `URL` have to trust, PEM."""
        return self.machine.read("/srv/tls/upstream.crt").decode()

    def _wait(self) -> "FakeUpstream":
        wait_until(self._answers, 30, self.machine.name, log=self.machine.logs)
        return self

    def _upload(self, known: set[str]) -> None:
        """All files in one tar, the new blobs only."""
        with tempfile.TemporaryFile() as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                for path, content in self.tree.files(known):
                    _put(tar, f"{FOLDER}/{path}", content)
                _put(tar, _CATALOG, json.dumps([image.name for image in self.tree.images]).encode())
            stream.seek(0)
            self.machine.container.put_archive("/", stream)

    def _answers(self) -> str | None:
        """A probe: both of its servers."""
        if not self.machine.running:
            return f"stopped: {self.machine.logs()[-300:]}"
        code = requests.get(f"{self.url}/v2/", timeout=5).status_code
        self._ask("counters")
        return None if code == 200 else f"HTTP {code}"

    def _serves(self, image: Image) -> str | None:
        """A probe: a new worker has read the new list, and no old one is there to answer or to hang up."""
        old = self.machine.exec(
            ["sh", "-c", "grep -l 'is shuttin[g] down' /proc/[0-9]*/cmdline 2>/dev/null"], check=False
        )
        if old.out:
            return "the old workers are still there"
        code = requests.head(f"{self.url}/v2/{image.repo}/manifests/{image.tag}", timeout=5).status_code
        return None if code == 200 else f"HTTP {code}"

    def _ask(self, path: str, **query: float) -> requests.Response:
        port = self.machine.port(_SETTINGS)
        answer = requests.get(f"http://127.0.0.1:{port}/{path}", params=query, timeout=10)
        answer.raise_for_status()
        return answer


def _name(prefix: str) -> str:
    return f"{prefix}-upstream"


def _put(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.size = len(content)
    member.mode = 0o644
    tar.addfile(member, BytesIO(content))
