"""The CA of a group, whose members issue their certificates themselves: made once, kept with the deployment."""

import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from registry_stack.deployment import State

CERTIFICATE, KEY = "group-ca.crt", "group-ca.key"
# As gen-cert-key of a single host.
_DAYS = 7300


def has_authority(state: State) -> bool:
    """Whether the CA of this deployment has been made here."""
    return (state.folder / CERTIFICATE).exists() and (state.folder / KEY).exists()


def authority_parameters(state: State) -> dict[str, str]:
    """The parameters of the template for the CA of this deployment, which is made when it is not there."""
    if not has_authority(state):
        certificate, key = make_authority(f"CA of {state.name}")
        # The certificate last: it says that both are there.
        state.write(KEY, key)
        state.write(CERTIFICATE, certificate)
    return {
        parameter: base64.b64encode((state.folder / file).read_bytes()).decode()
        for parameter, file in (("ca_certificate", CERTIFICATE), ("ca_certificate_key", KEY))
    }


def forget_authority(state: State) -> None:
    """Remove a CA that was made for nothing."""
    for file in (CERTIFICATE, KEY):
        (state.folder / file).unlink(missing_ok=True)


def make_authority(name: str) -> tuple[bytes, bytes]:
    """A new CA of this common name: its certificate and its key, both PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    # A common name has 64 characters at most.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Docker registry"),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
        ]
    )
    public = key.public_key()
    uses = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # A host's clock may be behind.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False, **uses),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), plain
