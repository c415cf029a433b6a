"""
Passwords as argon2id hashes; the one place that knows the algorithm.

Not in `policy`: a salt is random, and a hash takes tens of milliseconds of a core and 19 MiB. It needs no database
either, and both the service, which checks passwords, and the commands, which make hashes, stand above it.
"""

import secrets
from typing import Final

from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

_MEMORY = 19_456
"""KiB. With two passes and one lane: OWASP's first choice; policy.argon2id takes no other, so all checks cost the same."""
_PASSES = 2
_LANES = 1
_SALT_BYTES = 16
_HASH_BYTES = 32

NOBODYS: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$H1HW+BQ6EkAJpdiSD+kjnA$ZgPmM8Mfv3JXEP+v3RKW8Cq3Ovrbo8C19yp2nNI9KV4"
)
"""A hash of nothing, random bytes: what a password is checked against where there is no such user."""


def hash_password(password: str) -> str:
    """The hash of *password*, as a row of policy.smtp_credential holds it."""
    return hash_secret(
        password.encode(),
        secrets.token_bytes(_SALT_BYTES),
        time_cost=_PASSES,
        memory_cost=_MEMORY,
        parallelism=_LANES,
        hash_len=_HASH_BYTES,
        type=Type.ID,
    ).decode()


def is_password(password_hash: str, password: str) -> bool:
    """Whether *password* is the one that was hashed. Blocks, without the interpreter's lock: it belongs in a thread."""
    try:
        return verify_secret(password_hash.encode(), password.encode(), Type.ID)
    except VerifyMismatchError:
        return False
