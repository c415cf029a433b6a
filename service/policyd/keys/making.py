"""New private keys, as PEM."""

from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

_EXPONENT = 65_537
_BITS = 2048


def make_pem(algorithm: Literal["sha256", "ed25519"]) -> bytes:
    """A new key for what KumoMTA's helper calls *algorithm*: RSA-2048, or Ed25519."""
    made = Ed25519PrivateKey.generate() if algorithm == "ed25519" else generate_private_key(_EXPONENT, _BITS)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
