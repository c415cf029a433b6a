"""Policy as a whole, looked at for what no row is wrong by itself: each finding with what it means and what to do."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from policyd.operate.finding import Severity
from policyd.operate.kumod_check import judge
from policyd.operate.kumod_documents import Judged, to_be_judged
from policyd.operate.policy_checks import CHECKS, KUMOD, Check
from policyd.operate.shaping_checks import check_shaping
from policyd.store import checks as store
from policyd.store.checks import Answer, Told
from policyd.store.migrate import check_schema
from policyd.store.pool import Connection
from policyd.store.rows import one_reading, read_rows

SHAPING_TABLES: Final = (
    "shaping_provider",
    "shaping_provider_match",
    "shaping_provider_source",
    "shaping_provider_automation",
    "shaping_domain",
    "shaping_domain_source",
    "shaping_domain_automation",
)
_ORDER: Final[Sequence[Severity]] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFinding:
    """What was found of one document: how bad it is, which check found it, what that means, what to do."""

    severity: Severity
    check: str
    document: str
    says: str
    means: str
    next_step: str

    def as_json(self) -> dict[str, Any]:
        """The finding for other programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check found, the worst first, as far as it was wanted; *count* is how much there was."""

    check: Check
    findings: tuple[PolicyFinding, ...]
    count: int | None
    """None: whoever asked may not look."""


async def validate(
    connection: Connection, *, most: int, kumod: Path | None = None, only: Collection[str] = ()
) -> AsyncIterator[Verdict]:
    """
    What each check finds, one after the other, all of them from one snapshot; at most so many findings of each.

    With *kumod*, the constructors of that one judge every document, too. *only*: names of checks, if not all are wanted.
    """
    await check_schema(connection)
    judged: list[Judged] = []
    async with one_reading(connection):
        if kumod is not None:
            judged = list(to_be_judged(await store.read_bodies(connection)))
        shaping = check_shaping(await read_rows(connection, SHAPING_TABLES))
        for check in CHECKS:
            if only and check.name not in only:
                continue
            if check.name in shaping:
                told = shaping[check.name]
                answer = Answer(told=told[:most], count=len(told))
            elif check.name == store.DANGLING:
                answer = await store.check_references(connection, most=most)
            elif check.name in store.CHECKS:
                answer = await store.check(connection, check.name, most=most)
            else:
                answer = await store.check_options(connection, check.name, most=most)
            yield verdict(check, answer)
    if kumod is not None:
        told = await judge(kumod, judged)
        yield verdict(KUMOD, Answer(told=told[:most], count=len(told)))


def verdict(check: Check, answer: Answer) -> Verdict:
    """What a check found, as findings."""
    findings = [
        PolicyFinding(
            severity=_severity(each, check),
            check=check.name,
            document=each.tag,
            says=each.says,
            means=check.means,
            next_step=check.next_step,
        )
        for each in answer.told
    ]
    findings.sort(key=lambda each: _ORDER.index(each.severity))
    return Verdict(check=check, findings=tuple(findings), count=answer.count)


def _severity(told: Told, check: Check) -> Severity:
    return next((each for each in _ORDER if each == told.severity), check.severity)
