"""What nodes did in a drill, from what they said before it, during it and after it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from policyd.errors import PolicydError
from policyd.policy.node import NodeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A node in a drill: how much of each it has counted since the drill began."""

    node: str
    baseline: NodeState
    counted: Mapping[str, int]
    reports: int = 0
    """How often it was heard of since."""
    state: NodeState
    back_after: float | None = None
    """Seconds after the end until it said that it is in touch again."""

    @property
    def hits(self) -> int:
        """Answers from its store or a service."""
        return self.counted.get("fetched", 0) + self.counted.get("stored", 0)

    @property
    def stale(self) -> int:
        """Answers that it gave although nobody could tell whether they still hold."""
        return self.counted.get("stale", 0)

    @property
    def unknown(self) -> int:
        """Times that it could not answer."""
        return self.counted.get("unknown", 0)

    @property
    def refused(self) -> int:
        """Requests that the drill made fail."""
        return self.counted.get("drilled", 0)

    @property
    def problem(self) -> str | None:
        """Why nobody can say that it passed; None if it did."""
        if not self.reports:
            return "did not report: nobody can say what it did"
        if self.unknown:
            times = "once" if self.unknown == 1 else f"{self.unknown} times"
            return f"could not answer {times}: that mail was held, or put off with 4xx"
        if self.back_after is None:
            return "has not said yet that it is in touch again"
        return None


def choose(states: Sequence[NodeState], names: Collection[str]) -> list[Watched]:
    """Who is watched: the nodes called *names*, or all that are live. PolicydError for a name that nobody has."""
    missing = sorted(set(names) - {state.node_id for state in states})
    if missing:
        known = ", ".join(state.node_id for state in states) or "none"
        raise PolicydError(f"no node is called {', '.join(missing)}: known are {known}", hint="policyd nodes")
    chosen = [state for state in states if (state.node_id in names if names else state.live)]
    return [Watched(node=each.node_id, baseline=each, state=each, counted={}) for each in chosen]


def watch(watched: Watched, state: NodeState, *, ended_for: float | None) -> Watched:
    """What is known of a node after its latest *state*; *ended_for*: seconds since the drill's end, if it is over."""
    before = watched.state
    if state.last_seen == before.last_seen:
        return watched
    is_back = ended_for is not None and state.in_touch and state.silent_for < ended_for
    return replace(
        watched,
        state=state,
        reports=watched.reports + 1,
        counted={
            name: watched.counted.get(name, 0) + _since(before.counts.get(name, 0), count)
            for name, count in state.counts.items()
        },
        back_after=ended_for if is_back and watched.back_after is None else watched.back_after,
    )


def _since(before: int, now: int) -> int:
    # A kumod that was started anew counts from zero.
    return now - before if now >= before else now
