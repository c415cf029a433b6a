"""
Where private keys come from: files in KumoMTA's layout, and Vault.

`open_keys` gives `Keys`, which reads a key by its `KeyName`: a configured root, and a name below it.
"""

from policyd.keys.key import Algorithm, PrivateKey, check, read_pem
from policyd.keys.name import KeyName, key_of, parse_key_ref
from policyd.keys.roots import Keys, open_keys

__all__ = [
    "Algorithm",
    "KeyName",
    "Keys",
    "PrivateKey",
    "check",
    "key_of",
    "open_keys",
    "parse_key_ref",
    "read_pem",
]
