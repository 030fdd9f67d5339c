"""Certificates that ought to be refused, and the one that ought not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """Files with a certificate and its key."""

    certificate: Path
    key: Path

    @classmethod
    def beside(cls, certificate: Path) -> Identity:
        """A certificate, and the key that lies beside it."""
        return cls(certificate, certificate.with_suffix(".key"))


@dataclass(frozen=True)
class Maker:
    """Makes them in a folder."""

    folder: Path

    def self_signed(self, name: str, *, ca: bool = False) -> Identity:
        """One that nobody vouches for but itself; with `ca` it may vouch for others."""
        return self._make(f"self-{name}", name, None, _window(90), ca=ca)

    def signed(self, name: str, authority: Identity, days: float = 90) -> Identity:
        """One that an authority vouches for; below 0 days it has ended."""
        return self._make(f"{authority.key.stem}-{name}-{days}", name, authority, _window(days))

    def refusable(
        self, name: str, authority: Identity, others: dict[str, Identity]
    ) -> dict[str, Identity | None]:
        """What a door whose clients have this authority ought to refuse, by its kind.

        Args:
            name: whom it would let in.
            authority: of its clients.
            others: authorities that are good elsewhere, by what they sign for.
        """
        stranger = self.self_signed("edge-telemetry other", ca=True)
        return {
            "no certificate": None,
            "self-signed certificate": self.self_signed(name),
            "certificate of another authority": self.signed(name, stranger),
            "expired certificate": self.signed(name, authority, days=-1),
        } | {f"certificate of {kind}": self.signed(name, other) for kind, other in others.items()}

    def _make(
        self,
        file: str,
        name: str,
        authority: Identity | None,
        window: tuple[datetime, datetime],
        *,
        ca: bool = False,
    ) -> Identity:
        identity = Identity(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = subject, key
        if authority:
            issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes()).subject
            loaded = serialization.load_pem_private_key(authority.key.read_bytes(), None)
            if not isinstance(loaded, ec.EllipticCurvePrivateKey):
                raise TypeError(authority.key)
            signer = loaded
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signers = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(window[0])
            .not_valid_after(window[1])
            .add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(own, critical=False)
            .add_extension(signers, critical=False)
            .add_extension(_usage(ca=ca), critical=True)
            .sign(signer, hashes.SHA256())
        )
        identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return identity


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, ca: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    named = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **named)


def _window(days: float) -> tuple[datetime, datetime]:
    end = datetime.now(UTC) + days * DAY
    return end - 100 * DAY if days < 0 else datetime.now(UTC) - DAY, end
