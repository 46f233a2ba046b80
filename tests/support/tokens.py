"""A token server as Docker Hub's, for the upstream: Basic credentials in, a signed Bearer token out."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from registry_stack.docker.machine import Machine, MachineSpec
from registry_stack.images.project import ensure_project_image
from tests.support.deadlines import wait_until

# Under the same domain as the upstream: the edge sends credentials nowhere else.
AUTH_NAME = "auth.upstream.test"
PORT = 8080
_SERVER = Path(__file__).with_name("token_server.py")
_FOLDER = "/srv/tokens"


class TokenServer:
    """A running token server. Get one from `TokenServer.start`."""

    def __init__(self, machine: Machine, certificate: bytes) -> None:
        self.machine, self.certificate = machine, certificate

    @classmethod
    def start(
        cls,
        client: docker.DockerClient,
        network: str,
        labels: Mapping[str, str],
        name: str,
        login: tuple[str, str],
        alias: str = AUTH_NAME,
    ) -> "TokenServer":
        """Start one under the name `alias` on `network`. It runs in the host's image, which has Python."""
        key, certificate = _key_pair()
        settings = {"issuer": AUTH_NAME, "username": login[0], "password": login[1], "port": PORT}
        spec = MachineSpec(
            image=ensure_project_image(client, "host"),
            name=name,
            labels=labels,
            network=network,
            aliases=(alias,),
            entrypoint=["python3", "-u"],
            command=[f"{_FOLDER}/server.py", _FOLDER],
            files={
                f"{_FOLDER}/server.py": (_SERVER, 0o644),
                f"{_FOLDER}/key.pem": (key, 0o600),
                f"{_FOLDER}/crt.pem": (certificate, 0o644),
                f"{_FOLDER}/settings.json": (json.dumps(settings).encode(), 0o600),
            },
        )
        server = cls(Machine.boot(client, spec), certificate)
        wait_until(lambda: None if "listening" in server.log() else "silent", 20, name, log=server.log)
        return server

    def log(self) -> str:
        """One line a request: status, user, scopes."""
        return self.machine.logs()

    def rename(self, alias: str) -> None:
        """Reachable under this name only."""
        container = self.machine.container
        container.reload()
        (name,) = container.attrs["NetworkSettings"]["Networks"]
        network = self.machine.client.networks.get(name)
        network.disconnect(container)
        network.connect(container, aliases=[alias])

    def remove(self) -> None:
        """Remove its container and its anonymous volumes."""
        self.machine.remove()


def _key_pair() -> tuple[bytes, bytes]:
    """A key and its certificate, signed by itself, which the registry trusts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTH_NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    return key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain), certificate.public_bytes(pem)
