"""The judge of the chaos: each way in which an answer can be wrong is seen, and nothing that is right is called wrong."""

from typing import Any

import pytest

from tests.chaos.history import History
from tests.chaos.judge import Judge, Told
from tests.chaos.questions import Question, answer_at

TENANT = Question.make("tenant", ("acme",))
GOLD, SILVER = ({"tenant/acme": {"egress_pool": pool}} for pool in ("gold", "silver"))


def position(number: int, branch: int = 0) -> str:
    return f"{number}-{branch:08x}"


@pytest.fixture
def history() -> History:
    """
    Tenant acme is in pool gold at 1, committed at time 10; in silver at 2 (20); nowhere at 3 (30).

    At 40 the database is as at 1 again, and at 50 acme is nowhere again at another 2. A 4 was begun, and never committed.
    """
    history = History()
    history.add(position(0), None, {}, 0.0)
    history.commit(position(0), 1.0)
    for number, documents in ((1, GOLD), (2, SILVER), (3, {})):
        history.add(position(number), position(number - 1), documents, number * 10 - 1)
        history.commit(position(number), number * 10)
    history.add(position(4), position(3), GOLD, 35.0)
    history.reset(position(1), 40.0)
    history.add(position(2, 1), position(1), {}, 49.0)
    history.commit(position(2, 1), 50.0)
    return history


def told(pool: str | None, at: float, **what: Any) -> Told:
    answer = None
    if pool is not None:
        documents = {"gold": GOLD, "silver": SILVER}[pool]
        made = History().add(position(1), None, documents, 0.0)
        answer = answer_at(TENANT, made)
    return Told(who="test", question=TENANT, asked_at=at, told_at=at, answer=answer, **what)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (told("gold", 15, label=position(1), current_since=12), "right"),
        (told("silver", 25, label=position(2), current_since=22), "right"),
        (told(None, 35, label=position(3), current_since=32), "right"),
        # Not the truth of its label, whoever marks it how.
        (told("silver", 25, label=position(1), current_since=15), "wrong"),
        (told("gold", 25, label=position(2), is_stale=True), "wrong"),
        (told(None, 15, label=position(1)), "wrong"),
        # True once, and something else was committed long before.
        (told("gold", 25, label=position(1), current_since=22), "wrong"),
        (told("gold", 25, label=position(1), is_stale=True), "stale"),
        (told("gold", 21, label=position(1), current_since=19), "right"),
        # Of a history that is not the database's any more, or not yet.
        (told(None, 45, label=position(3), current_since=38), "right"),
        (told(None, 45, label=position(3), current_since=41), "wrong"),
        (told(None, 45, label=position(3), current_since=0.5), "right"),
        (told("gold", 45, label=position(1), current_since=41), "right"),
        (told("gold", 45, label=position(1), current_since=38), "right"),
        (told(None, 55, label=position(2, 1), current_since=52), "right"),
        (told("silver", 55, label=position(2, 1), current_since=52), "wrong"),
        # Older than what whoever asked had reached.
        (told("gold", 25, label=position(1), asked_from=position(1)), "right"),
        (told("gold", 25, label=position(1), asked_from=position(2), is_stale=True), "wrong"),
        # Nobody can know it, or nobody knows yet whether anybody can.
        (told("silver", 15, label=position(2)), "wrong"),
        (told("gold", 38, label=position(4)), "undecided"),
        (told("gold", 38, label=position(9)), "undecided"),
    ],
)
def test_a_service_is_held_to_its_label(history: History, answer: Told, outcome: str) -> None:
    assert Judge(history).judge(answer).outcome == outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (told("gold", 15, knew=(position(1), position(1)), number=1, current_since=12), "right"),
        # Older than its position, and still true; or not.
        (told(None, 5, knew=(position(0), position(0)), number=0), "right"),
        (told("gold", 25, knew=(position(2), position(2)), number=1, current_since=12), "wrong"),
        (told("gold", 25, knew=(position(1), position(2)), number=1, current_since=12), "right"),
        # Fetched, and newer than what it has applied.
        (told("silver", 25, knew=(position(1), position(1)), number=2, current_since=15), "right"),
        (told(None, 25, knew=(position(1), position(1)), number=2, current_since=15), "wrong"),
        # In touch, and behind for longer than it may be.
        (told("gold", 25, knew=(position(1), position(1)), number=1, current_since=22), "wrong"),
        (told("gold", 25, knew=(position(1), position(1)), number=1), "old"),
        # Marked: the truth of its label, in whichever history.
        (told("silver", 55, knew=(position(2, 1), position(2, 1)), number=2, is_stale=True), "stale"),
        (told(None, 55, knew=(position(2, 1), position(2, 1)), number=2, is_stale=True), "stale"),
        (told("gold", 55, knew=(position(2, 1), position(2, 1)), number=2, is_stale=True), "wrong"),
        # Where it is now there was a history once of which a replica may not know yet that it is replaced; or has to.
        (told("silver", 45, knew=(position(1), position(1)), number=1, current_since=12), "right"),
        (told("silver", 49.5, knew=(position(1), position(1)), number=1), "wrong"),
        (told("silver", 55, knew=(position(2, 1), position(2, 1)), number=2), "wrong"),
        # The history was replaced while it answered.
        (told("silver", 45, knew=(position(2), position(1)), number=2), "old"),
        (told(None, 45, is_unknown=True), "unavailable"),
        (told("gold", 15, knew=(None, None), number=1), "right"),
        (told("gold", 45, knew=(position(9), position(9)), number=1), "undecided"),
    ],
)
def test_a_node_is_held_to_what_it_knew(history: History, answer: Told, outcome: str) -> None:
    assert Judge(history).judge(answer).outcome == outcome


def test_the_age_of_an_answer_is_since_when_it_is_not_true_any_more(history: History) -> None:
    judge = Judge(history)
    for answer, at, age in (("gold", 25, 5), ("gold", 12, 0), ("gold", 35, 15), ("silver", 55, 25)):
        label = position(1 if answer == "gold" else 2)
        judge.oldest = 0.0
        assert judge.judge(told(answer, at, label=label, is_stale=True)).outcome == "stale"
        assert judge.oldest == age


def test_what_is_of_two_moments_is_called_so(history: History) -> None:
    """The name of one moment, and the row of another: a queue without its tenant, which is there at neither."""
    queue = Question.make("queue", ("a.example", "acme"))
    first = history.add(position(3, 1), position(2, 1), {"queue/default": {"routing_domain": "x"}}, 60.0)
    history.commit(position(3, 1), 61.0)
    both = {"queue/default": {"routing_domain": "y"}, "tenant/acme": {"egress_pool": "gold"}}
    second = history.add(position(4, 1), position(3, 1), both, 62.0)
    history.commit(position(4, 1), 63.0)
    knew = (position(3, 1), position(3, 1))
    for names, outcome in ((first, "mixed"), (second, "right")):
        answer = answer_at(queue, second, names=names)
        given = Told(who="test", question=queue, asked_at=64, told_at=64, answer=answer, knew=knew, number=3)
        assert Judge(history).judge(given).outcome == outcome


def test_a_campaign_of_one_moment_and_a_row_of_another_are_called_so(history: History) -> None:
    """A tenant's new rate limit without that of a campaign that is just as new: nobody ever wrote that."""
    queue = Question.make("queue", ("a.example", "acme", "spring"))
    spring = {
        "campaigns": {"spring": {"overall_max_message_rate": "10/s"}},
        "overall_max_message_rate": "100/h",
    }
    old = {"queue/default": {}, "tenant/acme": {"egress_pool": "gold"}}
    history.add(position(3, 1), position(2, 1), old, 60.0)
    history.commit(position(3, 1), 61.0)
    made = history.add(position(4, 1), position(3, 1), {**old, "tenant/acme": spring}, 62.0)
    history.commit(position(4, 1), 63.0)
    knew = (position(3, 1), position(3, 1))
    for campaign, outcome in ((None, "mixed"), ("spring", "right")):
        answer = answer_at(Question.make("queue", ("a.example", "acme", campaign)), made)
        given = Told(who="test", question=queue, asked_at=64, told_at=64, answer=answer, knew=knew, number=3)
        assert Judge(history).judge(given).outcome == outcome


def test_what_a_node_asked_that_goes_by_other_names_is_of_two_moments(history: History) -> None:
    """Of a lost history: it was asked for as the row that exists now, where another one was nearest."""
    queue = Question.make("queue", ("a.example", "acme"))
    tenant, near, far = (
        {"tenant/acme": {"egress_pool": "gold"}},
        {"queue/a.example": {"routing_domain": "near"}},
        {"queue/*": {"routing_domain": "far"}},
    )
    history.add(position(3, 1), position(2, 1), tenant | far, 60.0)
    history.commit(position(3, 1), 61.0)
    history.reset(position(2, 1), 62.0)
    history.add(position(3, 2), position(2, 1), near, 63.0)
    history.commit(position(3, 2), 64.0)
    knew = (position(3, 2), position(3, 2))
    answer = answer_at(Question.make("queue", ("a.example", "nobody")), history.states[position(3, 1)])
    for is_stale, outcome in ((True, "mixed"), (False, "wrong")):
        given = Told(
            who="test",
            question=queue,
            asked_at=74,
            told_at=74,
            answer=answer,
            knew=knew,
            number=3,
            is_stale=is_stale,
        )
        assert Judge(history).judge(given).outcome == outcome


def test_what_has_to_be_in_the_log_is_what_the_newest_state_came_from(history: History) -> None:
    assert [str(state.position) for state in history.committed()] == [
        position(2, 1),
        position(1),
        position(0),
    ]
