"""The folder of the certificates on the host, and pairs put there."""

from collections.abc import Iterator
from contextlib import contextmanager

from testinfra.host import Host

from registry_stack.polling import wait_until
from tests.host.targets import Target
from tests.host.waiting import deadline
from tests.support.certificates import Authority, Pair, certificate_at

FOLDER = "/home/root/registry_certs"
PORTS = (443, 5000)
# A change is taken up once nothing has changed for two seconds.
TAKEN_UP_S = 20


def put(target: Target, pair: Pair) -> None:
    """Put a pair into the folder as an operator may: moved there, with a moment between the two."""
    target.write(f"{FOLDER}/new.key", pair.key)
    target.write(f"{FOLDER}/new.crt", pair.certificate)
    target.host.check_output(f"cd {FOLDER} && touch -d 2020-01-01 new.key new.crt && mv new.crt server.crt")
    target.host.check_output(f"sleep 0.7 && mv {FOLDER}/new.key {FOLDER}/server.key")


def own_authority(host: Host) -> Authority:
    """The host's own CA, so that its clients accept what a test issues."""
    files = (host.check_output(f"cat {FOLDER}/ca.crt"), host.check_output(f"cat {FOLDER}/ca.key"))
    return Authority.load(*(text.encode() for text in files))


def serials(target: Target) -> set[int]:
    """Serial numbers of the certificates that are served, of both ports."""
    return {certificate_at(target.authority(port)).serial_number for port in PORTS}


def wait_for(target: Target, pair: Pair) -> None:
    """Wait until both ports serve it."""
    wanted = {pair.serial}

    def probe() -> str | None:
        found = serials(target)
        return None if found == wanted else f"another one: {found}"

    wait_until(probe, deadline(target.host, TAKEN_UP_S), "the new certificate to be served")


def current_pair(host: Host) -> Pair:
    """What is in the folder."""
    names = ("server.crt", "server.key")
    return Pair(*(f"{host.check_output('cat %s', f'{FOLDER}/{name}')}\n".encode() for name in names))


@contextmanager
def restored(target: Target) -> Iterator[Pair]:
    """Whatever a test puts there, afterwards what was there before is back and served."""
    before = current_pair(target.host)
    target.host.check_output(f"rm -rf /root/certs-before && cp -a {FOLDER} /root/certs-before")
    try:
        yield before
    finally:
        target.host.check_output("systemctl start registry-certs.path")
        target.host.check_output(f"cp -a /root/certs-before/. {FOLDER}/ && rm -rf /root/certs-before")
        # Not with a run that began before, and none that goes on into the next test.
        target.host.check_output("systemctl restart registry-certs")
        wait_for(target, before)
