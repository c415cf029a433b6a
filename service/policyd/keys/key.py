"""
A private key as a value, and the one place where such keys are parsed.

Keys come from roots that an operator configured, so RSA keys are loaded without OpenSSL's own validation, which holds
the interpreter for 33 ms (RSA-4096: 236 ms). `check` then proves once for each key, in 1 ms and without holding it for
long, that what this key signs, its public key verifies.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from policyd.errors import KeyInvalid

Algorithm: TypeAlias = Literal["rsa-sha256", "ed25519-sha256"]

LARGEST_KEY: Final = 64 * 1024
"""Bytes that a stored key may have; RSA-4096 needs 3,300."""

_RSA_BITS = (2048, 4096)
_PROBE = b"policyd checks that this key signs what its public key verifies"
_DAMAGED = "is damaged: its numbers do not belong together"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """
    A private key that KumoMTA can sign with.

    *pem* is PKCS#8, whatever form it was stored in. *key_id* is the SHA-256 of the public key's
    SubjectPublicKeyInfo in hexadecimal: what `openssl pkey -pubout -outform DER | sha256sum` prints.
    """

    pem: str = field(repr=False)
    key_id: str
    algorithm: Algorithm
    bits: int


def read_pem(data: bytes) -> PrivateKey:
    """
    The private key that *data* holds, as PEM (PKCS#1 or PKCS#8) or, as KumoMTA also takes it, as DER.

    KeyInvalid says what it is instead, and never quotes it. Nothing is computed with the key: see `check`.
    """
    loaded = _load(data)
    if isinstance(loaded, Ed25519PrivateKey):
        return _private_key(loaded, "ed25519-sha256", 256)
    if loaded.key_size not in _RSA_BITS:
        raise KeyInvalid(
            problem=f"is RSA with {loaded.key_size} bits, and only 2048 and 4096 are allowed"
            + (": receivers distrust or ignore shorter ones" if loaded.key_size < _RSA_BITS[0] else ""),
            hint="make a new key under a new selector, and publish its record first",
        )
    return _private_key(loaded, "rsa-sha256", loaded.key_size)


def check(key: PrivateKey) -> None:
    """Raise KeyInvalid unless *key* signs what its own public key verifies. Slow enough to belong in a thread."""
    loaded = _load(key.pem.encode())
    try:
        if isinstance(loaded, Ed25519PrivateKey):
            loaded.public_key().verify(loaded.sign(_PROBE), _PROBE)
            return
        # OpenSSL is not to compute with numbers that are no RSA key at all: these few lines cost 20 µs.
        if not _belong_together(loaded):
            raise KeyInvalid(problem=_DAMAGED)
        signature = loaded.sign(_PROBE, padding.PKCS1v15(), hashes.SHA256())
        loaded.public_key().verify(signature, _PROBE, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        raise KeyInvalid(problem=_DAMAGED) from None


def _load(data: bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    if len(data) > LARGEST_KEY:
        raise KeyInvalid(problem=f"is no private key: it is larger than {LARGEST_KEY} bytes")
    is_pem = b"-----BEGIN " in data
    if is_pem and b"PRIVATE KEY-----" not in data:
        raise KeyInvalid(problem="is no private key: there is PEM, but of something else")
    load = serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
    try:
        loaded = load(data, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:  # how cryptography says that a password is needed
        raise KeyInvalid(
            problem="is encrypted with a passphrase, which neither policyd nor KumoMTA can ask for",
            hint="decrypt it (openssl pkey -in KEY -out DECRYPTED), and protect the file instead",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyInvalid(
            problem="cannot be read: it is neither PEM nor DER of an RSA or Ed25519 private key"
        ) from None
    if isinstance(loaded, RSAPrivateKey | Ed25519PrivateKey):
        return loaded
    raise KeyInvalid(problem=f"is {_kind(loaded)}, and DKIM knows only RSA and Ed25519")


def _kind(loaded: object) -> str:
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        return f"an elliptic-curve key ({loaded.curve.name})"
    return "a DSA key" if isinstance(loaded, dsa.DSAPrivateKey) else f"a {type(loaded).__name__}"


def _private_key(loaded: RSAPrivateKey | Ed25519PrivateKey, algorithm: Algorithm, bits: int) -> PrivateKey:
    try:
        pem = loaded.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = loaded.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except ValueError:
        raise KeyInvalid(problem=_DAMAGED) from None
    return PrivateKey(
        pem=pem.decode(), key_id=hashlib.sha256(public).hexdigest(), algorithm=algorithm, bits=bits
    )


def _belong_together(key: RSAPrivateKey) -> bool:
    """Whether the numbers are an RSA key's, if p and q are primes: that they are shows in the signature."""
    numbers = key.private_numbers()
    p, q, e = numbers.p, numbers.q, numbers.public_numbers.e
    return (
        min(p, q) > 2
        and p % 2 == q % 2 == e % 2 == 1
        and e > 2
        and p != q
        and p * q == numbers.public_numbers.n
        and e * numbers.dmp1 % (p - 1) == 1
        and e * numbers.dmq1 % (q - 1) == 1
        and numbers.d % (p - 1) == numbers.dmp1 % (p - 1)
        and numbers.d % (q - 1) == numbers.dmq1 % (q - 1)
        and numbers.iqmp * q % p == 1
    )
