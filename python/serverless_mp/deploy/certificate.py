"""The certificate of a store, signed by an authority that is created for it alone and whose key is not kept."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# The name in the certificate, since the store's address changes.
SERVER_NAME = "store.serverless-mp"
_YEARS = 3


class Certificate(NamedTuple):
    """The authority's certificate (DER), the server's and its key (PEM)."""

    authority: bytes
    server: bytes
    key: bytes


def make() -> Certificate:
    """Creates a certificate that is valid for three years from yesterday, since clocks differ."""
    now = dt.datetime.now(dt.UTC)
    begin, end = now - dt.timedelta(days=1), now + dt.timedelta(days=_YEARS * 365)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = _name("serverless-mp authority")

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(issuer_name=authority_name, subject_name=subject, public_key=key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(begin).not_valid_after(end)

    authority = certificate(authority_name, authority_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    server = (
        certificate(_name(SERVER_NAME), server_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    )
    pem = serialization.Encoding.PEM
    return Certificate(
        authority.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER),
        server.sign(authority_key, hashes.SHA256()).public_bytes(pem),
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
