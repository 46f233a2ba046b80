"""A user's own certificate and key as two more entries of write_files, booted by each loader."""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest

from registry_stack.docker.engine import engine
from registry_stack.docker.machine import Machine, remove_labelled
from registry_stack.product import TEMPLATE
from registry_stack.targets.local import host as rendering
from registry_stack.targets.local import target as local
from registry_stack.targets.local.options import LocalOptions
from registry_stack.targets.local.rollout import wait_until_ready
from registry_stack.template.environment import read_environment
from tests.host.conftest import MACHINES
from tests.host.flatcar import Flatcar
from tests.host.targets import RUN_LABEL
from tests.support.certificates import CERTIFICATES, PORTS, Authority, Pair, certificate_at
from tests.support.upstream import Upstream, ensure_network

BUILT = "cloud-config/docker-host.yaml"
# What every service that touches certificates has logged.
JOURNAL = "journalctl -u gen-cert-key -u registry-certs -u docker-registry -u 'docker-registry-*' -o cat"


@dataclass(frozen=True)
class Booted:
    """A machine whose user-data has a pair of the user's."""

    machine: Machine
    pair: Pair

    def output(self, command: str) -> str:
        return self.machine.exec(["sh", "-euc", command]).out.strip()

    def serials(self) -> set[int]:
        return {certificate_at(f"localhost:{self.machine.port(port)}").serial_number for port in PORTS}


def entry(name: str, mode: str, content: bytes) -> str:
    text = indent(content.decode(), "    ")
    return f"- path: {CERTIFICATES}/{name}\n  permissions: '{mode}'\n  content: |\n{text}"


def edited_template(folder: Path, pair: Pair) -> Path:
    """A copy of the template beside which the cloud-config has the two entries."""
    for source in (TEMPLATE.parent, TEMPLATE.parents[1] / "cloud-config"):
        shutil.copytree(source, folder / source.name)
    entries = entry("server.crt", "0644", pair.certificate) + entry("server.key", "0600", pair.key)
    text = (folder / BUILT).read_text()
    assert text.count("\nwrite_files:\n") == 1
    (folder / BUILT).write_text(text.replace("\nwrite_files:\n", f"\nwrite_files:\n{entries}"))
    return folder / TEMPLATE.parent.name / TEMPLATE.name


@pytest.fixture(scope="module", params=["cloud-init", "coreos-cloudinit"])
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    run = f"hosttest-pair-{secrets.token_hex(3)}"
    request.config.stash[MACHINES].append(run)
    authority = Authority.create("the user's own CA")
    pair = authority.issue(["localhost"])
    # The chain with the CA, so that clients can be given the same file to trust.
    pair = Pair(pair.certificate + authority.pem, pair.key)
    options = LocalOptions(name=run, mirror_port=None, registry_port=None, labels={RUN_LABEL: run})
    ensure_network(engine(), options.network, options.all_labels)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rendering, "TEMPLATE", edited_template(tmp_path_factory.mktemp("product"), pair))
            if request.param == "cloud-init":
                local.deploy(options, read_environment([], []))
                machine = local.find_host(run)
            else:
                upstream = Upstream.start(engine(), options.network, options.all_labels)
                upstream.push("library/check", "1.0", [1000])
                machine = Flatcar.boot(engine(), run, options.network, options.all_labels).machine
            yield Booted(machine, pair)
    finally:
        remove_labelled(engine(), f"{RUN_LABEL}={run}")


def test_both_ports_serve_it(booted: Booted) -> None:
    assert booted.serials() == {booted.pair.serial}


def test_no_other_certificate_was_ever_served(booted: Booted) -> None:
    journal = booted.output(JOURNAL)
    installed = [line for line in journal.splitlines() if "server certificate in service: " in line]
    assert len(installed) == 1
    assert "issued by a test" in installed[0]
    assert f"the certificate in {CERTIFICATES} is the user's own: left alone" in journal
    assert "certificate generated for" not in journal


def test_nothing_overwrites_it(booted: Booted) -> None:
    """Neither the daily renewal nor another boot, at which coreos-cloudinit writes the files again."""
    booted.output("systemctl start gen-cert-key")
    booted.machine.restart()
    wait_until_ready(booted.machine, lambda _step: None)
    assert booted.machine.read(f"{CERTIFICATES}/server.crt") == booted.pair.certificate
    assert booted.machine.read(f"{CERTIFICATES}/server.key") == booted.pair.key
    assert booted.output(f"ls -A {CERTIFICATES}").split() == ["server.crt", "server.key"]
    test_both_ports_serve_it(booted)
    assert "certificate generated for" not in booted.output(JOURNAL)
