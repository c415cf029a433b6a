"""
Everything that policyd raises on purpose.

    PolicydError
    ├── ConfigError                 what is configured cannot be used
    ├── PolicyInvalid(problems)     policy that the tables or KumoMTA would refuse
    ├── Conflict(constraint)        a row is already there, or still referred to
    ├── StatementRefused            PostgreSQL understood and said no (the person's own SQL)
    ├── LookupInvalid(parameter)    a question that cannot be meant like that
    ├── Unauthorized                a token that is missing, wrong or expired
    │   └── Forbidden(needed)       a good token, but not for this
    ├── OtherHistory(presented)     a position that this database's log does not hold
    ├── Overloaded(bottleneck)      more is asked for than can be done in time
    ├── OutageDrilled(number)       it fails on purpose, and for a while
    ├── TooManyFailures             logins failed so often that the next ones are not looked at
    ├── KeyInvalid(key, problem)    a private key that cannot be used; asking again does not help
    ├── KeyGone(key)                the very key that was asked for is not where it was
    ├── BackendUnavailable(trouble) nobody answered; asking again later may help
    │   ├── DatabaseUnavailable
    │   │   └── NotCaughtUp         the change log could not be read in time
    │   └── SecretsUnavailable
    │       └── VaultUnavailable
    ├── SchemaIncompatible(found, supported)
    ├── MigrationFailed(name)
    └── EmbeddedUnavailable         the PostgreSQL that policyd runs itself cannot run
        └── AlreadyRunning(pid)

Exceptions carry fields; the sentence is made in `__str__`. `hint` says what to do next, where that is known.
Nothing here knows of HTTP or of exit statuses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Trouble: TypeAlias = Literal[
    "unreachable", "timeout", "starting", "full", "read-only", "login", "schema", "refused", "sealed", "certificate",
    "nonsense",
]  # fmt: skip
"""
What is the matter with a backend, in one word of a closed set, for metrics: nobody is there; it does not answer in time;
starts, stops or recovers; is out of connections, memory, disk, or over a quota; takes no writes; does not let policyd in;
has another version's schema; refuses what it is asked; is sealed; shows a certificate that is not trusted; talks nonsense.
"""


class PolicydError(Exception):
    """Root of the tree: the message is for an operator, and holds no secret."""

    hint: str | None = None

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class ConfigError(PolicydError):
    """What is configured cannot be used: it names the setting and where its value came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with policy, as a whole sentence, and where it stands."""

    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}" if self.where else self.sentence


class PolicyInvalid(PolicydError):
    """Policy that the tables or KumoMTA would refuse."""

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        super().__init__(hint=hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Conflict(PolicydError):
    """A row is already there, or still referred to; *constraint* is the name of the rule."""

    def __init__(self, constraint: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.constraint = constraint


class StatementRefused(PolicydError):
    """PostgreSQL understood the statement and refused it."""

    def __init__(
        self, message: str, *, sqlstate: str, detail: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate
        self.detail = detail

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n{self.detail}" if self.detail else message


class LookupInvalid(PolicydError):
    """A question that cannot be meant like that: which parameter, what is wrong, and what is allowed."""

    def __init__(self, *, parameter: str, problem: str, allowed: str) -> None:
        super().__init__()
        self.parameter = parameter
        self.problem = problem
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.parameter[:80]!r} {self.problem}; allowed: {self.allowed}"


class Unauthorized(PolicydError):
    """A token that is missing, wrong or expired; *token* is its name, where that is known."""

    def __init__(self, message: str, *, token: str | None = None) -> None:
        super().__init__(message)
        self.token = token


class Forbidden(Unauthorized):
    """A good token that does not allow this; *needed* says what would."""

    def __init__(self, *, token: str, needed: str) -> None:
        super().__init__(f"token {token} does not allow this: {needed} is needed", token=token)
        self.needed = needed


class OtherHistory(PolicydError):
    """A position was presented that this database's log does not hold: whoever holds it has another history."""

    def __init__(self, *, presented: str, head: str) -> None:
        super().__init__(f"position {presented} is not in this database's log, whose head is {head}")
        self.presented = presented
        self.head = head

    hint = "ask /changes: it says reset, and what is held is good as stale only"


Bottleneck: TypeAlias = Literal["lookups", "kind", "line", "tokens", "passwords", "connections"]
"""Where there is no more room: a closed set, for metrics."""

_BOTTLENECKS: dict[Bottleneck, str] = {
    "lookups": "too many lookups under way: {limit} are allowed",
    "kind": "too many lookups of this kind under way: {limit} are allowed, so that there is room for others",
    "line": "what waits for PostgreSQL waits longer than {limit:g} s already",
    "tokens": "too many tokens that are not known here yet: {limit} are looked up at a time",
    "passwords": "too many passwords waiting to be checked: {limit} are allowed",
    "connections": "too many connections: {limit} are allowed",
}


class Overloaded(PolicydError):
    """More is asked for than can be done in time; asking again a little later may help."""

    def __init__(self, *, bottleneck: Bottleneck, limit: float) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        self.limit = limit

    def __str__(self) -> str:
        return _BOTTLENECKS[self.bottleneck].format(limit=self.limit)


class OutageDrilled(PolicydError):
    """Something that fails on purpose, for as long as a drill is on."""

    def __init__(self, *, number: int, by: str) -> None:
        super().__init__()
        self.number = number
        self.by = by

    def __str__(self) -> str:
        return f"drill {self.number}, which {self.by} started, makes this fail as if nobody answered"


class TooManyFailures(PolicydError):
    """Logins like this one failed so often lately that it was not looked at; it may well be right."""

    def __str__(self) -> str:
        return "too many logins like this one failed lately, so it was not looked at"


class KeyInvalid(PolicydError):
    """A private key that cannot be used as it is: *key* says which, *problem* why; neither holds any of it."""

    def __init__(self, *, problem: str, key: str = "", hint: str | None = None) -> None:
        super().__init__(hint=hint)
        self.key = key
        self.problem = problem

    def __str__(self) -> str:
        return f"private key {self.key} {self.problem}" if self.key else f"the private key {self.problem}"


class KeyGone(PolicydError):
    """The very private key that was asked for is not where it was; *key* says where that is."""

    hint = "ask /dkim/{domain} again: it says which key is there now"

    def __init__(self, *, key: str) -> None:
        super().__init__()
        self.key = key

    def __str__(self) -> str:
        return f"the private key with this key_id is not, or no longer, {self.key}"


class BackendUnavailable(PolicydError):
    """
    Nobody answered; asking again later may help.

    *trouble* is what a backend itself did or did not do just now; None where it is known already that it cannot be asked.
    """

    backend = "backend"

    def __init__(self, message: str = "", *, trouble: Trouble | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.trouble = trouble


class DatabaseUnavailable(BackendUnavailable):
    """PostgreSQL did not answer in time, or at all."""

    backend = "postgresql"


class NotCaughtUp(DatabaseUnavailable):
    """The change log could not be read in time, so what is known here may be out of date."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__(f"the change log was not read within {seconds:g} s", trouble="timeout")
        self.seconds = seconds


class SecretsUnavailable(BackendUnavailable):
    """The place where private keys live did not answer."""

    backend = "secrets"


class VaultUnavailable(SecretsUnavailable):
    """Vault did not answer, or not with what is needed."""

    backend = "vault"


class SchemaIncompatible(PolicydError):
    """The database was migrated by a policyd that this one cannot follow."""

    def __init__(self, *, found: int, supported: int, name: str = "") -> None:
        super().__init__()
        self.found = found
        self.supported = supported
        self.name = name
        self.hint = (
            "run policyd migrate"
            if found < supported
            else "run the policyd that migrated it, or restore the backup that was made before"
        )

    def __str__(self) -> str:
        if self.found < self.supported:
            return (
                f"the database's schema is at migration {self.found}, and this policyd needs {self.supported}"
            )
        named = f" ({self.name})" if self.name else ""
        return (
            f"the database's schema is newer than this policyd: it was migrated to number {self.found}{named},"
            f" a breaking change, and this policyd knows numbers up to {self.supported}"
        )


class MigrationFailed(PolicydError):
    """A migration was refused, and nothing of it is left."""

    def __init__(self, *, name: str, message: str, hint: str | None = None) -> None:
        super().__init__(hint=hint)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return f"migration {self.name} failed and was rolled back: {self.message}"


class EmbeddedUnavailable(PolicydError):
    """The PostgreSQL that policyd runs itself cannot run."""


class AlreadyRunning(EmbeddedUnavailable):
    """Another policyd runs the PostgreSQL of this state directory."""

    def __init__(self, *, pid: int | None, state: str) -> None:
        super().__init__()
        self.pid = pid
        self.state = state

    def __str__(self) -> str:
        holder = f"process {self.pid}" if self.pid is not None else "another process"
        return f"policyd is running already: {holder} uses {self.state}"

    hint = "use that one, stop it, or give this one a directory of its own (--state DIR)"
