"""One thing that somebody found out by looking, with what to do about it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """*says* is a sentence without secrets; *next_step* is empty where nothing has to be done."""

    area: str
    severity: Severity
    says: str
    next_step: str | None = None
