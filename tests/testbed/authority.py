"""The certificate authority of a test bed's cluster: made at its start, gone with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

NAME: Final = "testbed cluster"
LIFETIME: Final = timedelta(days=30)
"""Somebody may keep a cluster for a while."""
EARLIER: Final = timedelta(days=1)
"""Clocks of tests may be set back."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of one party: PEM."""

    certificate: Path
    key: Path


@dataclass(slots=True, eq=False)
class Authority:
    """Signs for servers and for clients. Nothing exists before :meth:`create`."""

    directory: Path
    _key: "ec.EllipticCurvePrivateKey | None" = None

    @property
    def certificate(self) -> Path:
        """What to trust."""
        return self.directory / "ca.pem"

    @property
    def key(self) -> Path:
        """For whoever signs in its name."""
        return self.directory / "ca.key"

    def create(self) -> None:
        """Make the authority and write its files."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec

        self.directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = (
            self._unsigned(_named(NAME), self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_signing_usage(), critical=True)
        )
        self._write(Credentials(self.certificate, self.key), made, self._key)

    def server(self, name: str, addresses: Sequence[str], names: Sequence[str] = ()) -> Credentials:
        """Sign for a server that is reached at these addresses and names."""
        from cryptography import x509

        alternatives: list[x509.GeneralName] = [x509.IPAddress(ip_address(each)) for each in addresses]
        alternatives += [x509.DNSName(each) for each in names]
        return self._issue(name, _named(name), alternatives)

    def client(self, name: str, groups: Sequence[str] = ()) -> Credentials:
        """Sign for a user *name* of *groups*, as the API server reads certificates."""
        return self._issue(name.replace(":", "-"), _named(name, groups), [])

    def key_pair(self, name: str) -> Credentials:
        """A public key in place of a certificate: what service account tokens are checked with."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        files = self._files(name)
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        files.certificate.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
        _write_key(files.key, key)
        return files

    def _issue(
        self, file: str, subject: "x509.Name", alternatives: "Sequence[x509.GeneralName]"
    ) -> Credentials:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = self._unsigned(subject, key).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if alternatives:
            made = made.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        self._write(files := self._files(file), made, key)
        return files

    def _unsigned(self, subject: "x509.Name", key: "ec.EllipticCurvePrivateKey") -> "x509.CertificateBuilder":
        from cryptography import x509

        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_named(NAME))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - EARLIER)
            .not_valid_after(now + LIFETIME)
        )

    def _write(
        self, files: Credentials, unsigned: "x509.CertificateBuilder", key: "ec.EllipticCurvePrivateKey"
    ) -> None:
        from cryptography.hazmat.primitives import hashes, serialization

        assert self._key is not None
        signed = unsigned.sign(self._key, hashes.SHA256())
        files.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        _write_key(files.key, key)

    def _files(self, name: str) -> Credentials:
        return Credentials(self.directory / f"{name}.pem", self.directory / f"{name}.key")


def _named(name: str, groups: Sequence[str] = ()) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signing_usage() -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: "ec.EllipticCurvePrivateKey") -> None:
    from cryptography.hazmat.primitives import serialization

    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.touch(mode=0o600)
    path.write_bytes(content)
