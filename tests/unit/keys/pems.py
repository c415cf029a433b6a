"""Private keys in every form that one meets, made once."""

import functools

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

AnyKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey


def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """An RSA key; another *number* is another key."""
    return _made_rsa(bits, number)


def ed25519_key(number: int = 0) -> ed25519.Ed25519PrivateKey:
    """An Ed25519 key; another *number* is another key."""
    return _made_ed25519(number)


@functools.cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def dsa_key() -> dsa.DSAPrivateKey:
    return dsa.generate_private_key(2048)


def stored(
    key: AnyKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encoding: Encoding = Encoding.PEM,
    passphrase: bytes = b"",
) -> bytes:
    """What a file of *key* holds."""
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(encoding, form, protection)


@functools.cache
def _made_rsa(bits: int, number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@functools.cache
def _made_ed25519(number: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def rsa_pem(bits: int = 2048, number: int = 0) -> bytes:
    return stored(rsa_key(bits, number))


def ed25519_pem(number: int = 0) -> bytes:
    return stored(ed25519_key(number))


@functools.cache
def damaged_rsa_pem() -> bytes:
    """An RSA key with the public part of `rsa_key()` and a private part that does not belong to it."""
    numbers, other = rsa_key().private_numbers(), rsa_key(number=1).private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        p=numbers.p,
        q=numbers.q,
        d=numbers.d,
        dmp1=other.dmp1 % numbers.p | 1,  # OpenSSL wants it odd
        dmq1=numbers.dmq1,
        iqmp=numbers.iqmp,
        public_numbers=numbers.public_numbers,
    )
    return stored(wrong.private_key(unsafe_skip_rsa_key_validation=True))
