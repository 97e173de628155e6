"""A certificate authority of the test bed, and certificates of it, good and bad."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from tests.testbed.session import ADDRESS, HOST_NAME

Flaw = Literal["none", "expired", "wrong name", "unknown authority"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of one server. With a flaw, clients that trust ``ca`` must refuse it."""

    ca: Path
    chain: Path
    key: Path


def make_certificates(directory: Path, flaw: Flaw = "none") -> Certificates:
    """Write an authority and a certificate for every name and address of the test bed into *directory*."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, issuer: str) -> x509.CertificateBuilder:
        end = timedelta(minutes=-1) if flaw == "expired" and subject != issuer else timedelta(days=1)
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
        )

    directory.mkdir(parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("testbed authority", authority_key, "testbed authority").sign(
        authority_key, hashes.SHA256()
    )
    names: list[x509.GeneralName] = [x509.DNSName("elsewhere.test")]
    if flaw != "wrong name":
        names = [
            x509.DNSName(HOST_NAME),
            x509.DNSName("localhost"),
            *(x509.IPAddress(ip_address(a)) for a in (ADDRESS, "127.0.0.1")),
        ]
    signing_key = ec.generate_private_key(ec.SECP256R1()) if flaw == "unknown authority" else authority_key
    server = (
        certificate("testbed server", key, "testbed authority")
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    files = Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    pem = serialization.Encoding.PEM
    files.ca.write_bytes(authority.public_bytes(pem))
    files.chain.write_bytes(server.public_bytes(pem))
    files.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
