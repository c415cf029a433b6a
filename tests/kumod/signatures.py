"""What a receiver makes of signatures: dkimpy, which shares nothing with kumod."""

import base64
import re
from collections.abc import Mapping

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.kumod.sink import Delivery


def record(pem: bytes) -> bytes:
    """The TXT record of a private key."""
    public = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True).public_key()
    if isinstance(public, Ed25519PublicKey):
        kind, key = b"ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        kind, key = b"rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=%s; p=%s" % (kind, base64.b64encode(key))


def signers(delivery: Delivery, keys: Mapping[str, bytes]) -> list[str]:
    """
    By whom a message is signed, `s1@a.example`, top to bottom; every signature has to be good.

    *keys* are private keys by such a name; their public halves are what DNS says.
    """
    found = [_name(value) for value in _values(delivery, "dkim-signature")]

    def ask(name: bytes, timeout: int = 5) -> bytes:
        selector, domain = name.decode().rstrip(".").split("._domainkey.")
        return record(keys[f"{selector}@{domain}"])

    for i, name in enumerate(found):
        assert dkim.DKIM(delivery.data).verify(idx=i, dnsfunc=ask), f"{name} does not verify"
    return found


def _values(delivery: Delivery, header: str) -> list[str]:
    head = re.sub(r"\r\n[ \t]+", " ", delivery.data.split(b"\r\n\r\n", 1)[0].decode())
    return [line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith(f"{header}:")]


def _name(value: str) -> str:
    fields = dict(field.strip().split("=", 1) for field in value.split(";") if field.strip())
    return f"{fields['s'].strip()}@{fields['d'].strip()}"
