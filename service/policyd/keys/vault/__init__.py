"""
Vault and OpenBao as a place of private keys: KV version 1 and 2, through hvac.

`wire` asks one question; `calls` bounds and times questions; `credential` is what to log in with, and `session` keeps
the token that it brings; `reading` reads secrets. What Vault's odder answers mean is written where it is decided.
"""

from policyd.keys.vault.calls import Calls
from policyd.keys.vault.credential import refuse_incomplete
from policyd.keys.vault.reading import Vault
from policyd.keys.vault.session import Session

__all__ = ["Calls", "Session", "Vault", "refuse_incomplete"]
