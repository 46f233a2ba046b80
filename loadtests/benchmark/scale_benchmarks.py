"""What the host's housekeeping takes with caches of several sizes: registry-cache, the metrics and the status page."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtests.benchmark import scale_probe
from loadtests.benchmark.profiles import Store
from loadtests.benchmark.results import Results
from registry_stack.docker.archive import Content
from registry_stack.docker.engine import engine
from registry_stack.docker.machine import PROJECT, PROJECT_LABEL, Machine, MachineSpec, remove_labelled
from registry_stack.images.project import ensure_project_image
from registry_stack.product import TEMPLATE
from registry_stack.progress import ProgressCallback
from registry_stack.targets.local.host import LOCAL_DEFAULTS, render
from registry_stack.template.environment import Environment, SourcedValue
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.host_files import host_files

STAGE = "scale"
_LABEL = "org.registry-stack.scale"
_PROBE = "/opt/scale_probe.py"
_STATE = "/var/lib/registry"
_STORE = f"{_STATE}/proxy/docker/registry/v2"
_RUN = "/run/registry"
_UNREACHED = 10**15
# What registry-storage and registry-metrics would have made.
_PREPARE = f"""set -e
mkdir -p {_RUN}/metrics {_RUN}/cache {_STATE}/tls {_STATE}/edge/fetching {_STATE}/proxy
touch {_RUN}/cache/used {_RUN}/cache/bytes {_RUN}/ca-bundle.crt {_STATE}/tls/server.crt
cd {_RUN}/metrics
touch counters probes catalog contents slow.prom units"""
_CLEAR = f"rm -f {_RUN}/metrics/size-* {_RUN}/metrics/catalog-due"
_IDLE_S = 60


def measure_scale(results: Results, stores: tuple[Store, ...], before: Path | None, report: ProgressCallback) -> None:
    """Measure the host's scripts, and those of the version before, with caches of several sizes."""
    results.rows.pop(STAGE, None)
    for store in stores:
        _measure_store(results, store, "mirror", None, report)
        if before and store.compared:
            _measure_store(results, store, "before", before, report)


def _measure_store(results: Results, store: Store, version: str, files: Path | None, report: ProgressCallback) -> None:
    with _machine(files) as machine:
        report(f"{version}: making a cache of {store.blobs} blobs")
        machine.exec(["python3", _PROBE, "make", str(store.blobs), str(store.repositories), str(store.tags)])
        report(f"{version}: measuring {store.blobs} blobs")
        look = _measure(machine, *_limited(_UNREACHED), "--once")
        idle = _measure(machine, *_limited(_UNREACHED), seconds=_IDLE_S)
        machine.exec(["sh", "-c", _CLEAR])
        scrape = _measure(machine, "/opt/registry/collect-slow-metrics")
        page = _measure(machine, "/opt/registry/status-page")
        # With the 5 % that are evicted beyond the limit, a tenth.
        eviction = _measure(machine, *_limited(_limit_for_a_tenth(machine)), "--once", first=True)
        figures = (look, idle, scrape, page, eviction)
        results.add(
            STAGE,
            version=version,
            blobs=store.blobs,
            repositories=store.repositories,
            look_s=look["processor_s"],
            idle_percent=100 * max(0.0, idle["processor_s"] - look["processor_s"]) / _IDLE_S,
            evicted=look["blobs"] - eviction["blobs"],
            evict_s=eviction["processor_s"],
            evict_wall_s=eviction["wall_s"],
            first_bytes_s=eviction["first_s"],
            scrape_s=scrape["processor_s"],
            page_s=page["processor_s"],
            memory_mib=max(one["largest_process_mib"] for one in figures),
        )


def _limited(limit: int) -> list[str]:
    return ["env", f"CACHE_LIMIT_BYTES={limit}", "/opt/registry/registry-cache"]


def _limit_for_a_tenth(machine: Machine) -> int:
    """The limit at which a tenth of the blobs' bytes is evicted: what exceeds it, and a twentieth of it."""
    measured = machine.exec(["cat", f"{_RUN}/cache/bytes"]).out.split()
    # Versions before did not write that down, and measured all of the store.
    total, blobs = (
        [int(measured[1])] * 2 if measured else [_disk_usage(machine, path) for path in (_STORE, f"{_STORE}/blobs")]
    )
    return int((total - blobs / 10) / 0.95)


def _disk_usage(machine: Machine, folder: str) -> int:
    return int(machine.exec(["du", "-sB1", folder]).out.split()[0])


def _measure(machine: Machine, *command: str, seconds: int = 0, first: bool = False) -> dict[str, Any]:
    options = [f"--seconds={seconds}", *(["--first"] if first else [])]
    done = machine.exec(["python3", _PROBE, "measure", *options, "--", *command])
    figures: dict[str, Any] = json.loads(done.out.splitlines()[-1])
    return figures


@contextmanager
def _machine(files: Path | None) -> Iterator[Machine]:
    """A machine with the host's tools and files, of which those below `files` take precedence. No service runs."""
    client, name = engine(), f"scale-{secrets.token_hex(3)}"
    labels = {PROJECT_LABEL: PROJECT, _LABEL: name}
    client.volumes.create(name, labels=labels)
    try:
        spec = MachineSpec(
            image=ensure_project_image(client, "host"),
            name=name,
            labels=labels,
            volumes={_STATE: name},
            files={**_host_files(), **_overriding(files), _PROBE: (Path(str(scale_probe.__file__)), 0o644)},
            entrypoint=["sleep"],
            command=["infinity"],
        )
        machine = Machine.boot(client, spec)
        machine.exec(["sh", "-c", _PREPARE])
        yield machine
        # While the engine removes a volume it starts no container: with millions of files, for minutes.
        machine.exec(["rm", "-rf", _STORE])
    finally:
        remove_labelled(client, f"{_LABEL}={name}")


def _host_files() -> dict[str, tuple[Content, int]]:
    """The files of a host. Its upstream refuses connections, so that no time is spent on it."""
    given = {"upstream_url": SourcedValue("http://127.0.0.1:9", "the benchmark")}
    values = resolve_parameters(load_template(TEMPLATE), Environment(given, {}), LOCAL_DEFAULTS)
    values["registry_password"] = values["registry_password"] or secrets.token_hex(16)
    values["cache_min_free_percent"] = 0
    return {path: (file.content, file.mode) for path, file in host_files(render(values)).items()}


def _overriding(files: Path | None) -> dict[str, tuple[Content, int]]:
    """The scripts of another version, from the folder `cloud-config/files` of its checkout."""
    scripts = [path for path in (files / "opt/registry").rglob("*") if path.is_file()] if files else []
    return {f"/{path.relative_to(files)}": (path, path.stat().st_mode & 0o777) for path in scripts if files}
