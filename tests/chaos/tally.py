"""What came of a chaos, counted; and the story of what led to it."""

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.judge import Told, Verdict

_REMEMBERED = 20_000
_SHOWN = 5


@dataclass(slots=True)
class Tally:
    """Everything that is counted, and everything that was wrong."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By who was asked (`services`, `nodes`, `keys`), and what it was worth."""
    commits: int = 0
    recoveries: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    story: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def judged(self, told: Told, verdict: Verdict) -> None:
        """An answer was judged."""
        self.outcomes[
            "services" if told.label or told.who.startswith("service") else "nodes", verdict.outcome
        ] += 1
        if verdict.outcome == "wrong":
            self.is_wrong(
                f"{told.who} at {told.told_at:.3f}: {told.question.lookup.path} is {told.answer}: {verdict.why}"
            )

    def is_wrong(self, what: str) -> None:
        """Something is as it must never be."""
        self.wrong.append(what)
        self.story.append({"what": "WRONG", "why": what})

    def report(self, seconds: float, oldest: float) -> str:
        """All of it, for people."""
        lines = [
            f"seed {self.seed}, {seconds:.0f} s: {sum(self.faults.values())} faults, {self.commits} commits",
            "  " + ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items())),
        ]
        for who in ("nodes", "services", "keys"):
            counts = {
                outcome: count for (asked, outcome), count in sorted(self.outcomes.items()) if asked == who
            }
            lines.append(
                f"lookups of {who}: {sum(counts.values())}"
                + "".join(f", {outcome} {count}" for outcome, count in counts.items())
            )
        if self.recoveries:
            middle, most = median(self.recoveries), max(self.recoveries)
            lines.append(
                f"recovered {len(self.recoveries)} times, within {middle:.1f} s (median), {most:.1f} s at most"
            )
        lines += [
            f"the oldest stale answer had not been true for {oldest:.1f} s",
            f"wrong: {len(self.wrong)}",
        ]
        return "\n".join(lines + [f"  {each}" for each in self.wrong[:_SHOWN]])

    def write(self, path: Path) -> None:
        """The latest of what was done and said, a line each."""
        path.write_text("".join(json.dumps(each, default=str) + "\n" for each in self.story))
