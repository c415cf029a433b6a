"""Guessing is slow; whoever does not guess is not slowed."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.errors import TooManyFailures
from policyd.live import failures
from policyd.live.failures import FailureLimits
from policyd.policy.credential import Attempt


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def attempt(username: str = "alice", peer: str = "192.0.2.1") -> Attempt:
    return Attempt.parse({"username": username, "password": "x", "peer": peer})


def charged(limits: FailureLimits, times: int, username: str = "alice", peer: str = "192.0.2.1") -> int:
    """How many of so many attempts are looked at."""
    for number in range(times):
        try:
            limits.charge(attempt(username.format(number), peer.format(number)))
        except TooManyFailures:
            return number
    return times


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> FailureLimits:
    return FailureLimits(most=10, within=600, clock=clock)


def test_a_username_may_fail_ten_times_from_one_network(limits):
    assert charged(limits, 20, peer="192.0.2.{}") == 10
    assert charged(limits, 1, username="bob") == 1
    assert charged(limits, 1, peer="198.51.100.1") == 1


def test_a_network_may_fail_a_hundred_times_whatever_it_guesses(limits):
    assert charged(limits, 200, username="user{}") == 100
    assert charged(limits, 1, username="other", peer="198.51.100.1") == 1


def test_a_username_may_fail_a_hundred_times_from_everywhere(limits):
    assert charged(limits, 200, peer="10.0.{}.1") == 100
    assert charged(limits, 1, username="bob", peer="10.1.0.1") == 1


def test_failures_are_forgiven_evenly(limits, clock):
    assert charged(limits, 11) == 10
    clock.now = 59.9
    assert charged(limits, 1) == 0
    clock.now = 60.1
    assert charged(limits, 2) == 1
    clock.now = 10_000
    assert charged(limits, 11) == 10


def test_what_was_right_is_not_counted(limits):
    for _ in range(1000):
        limits.refund(limits.charge(attempt()))
    assert charged(limits, 11) == 10


def test_one_that_is_refused_is_not_counted_anywhere(limits):
    assert charged(limits, 11) == 10
    for _ in range(1000):
        with contextlib.suppress(TooManyFailures):
            limits.charge(attempt())
    assert charged(limits, 200, username="user{}") == 90


def test_names_by_the_million_are_not_kept(limits, monkeypatch):
    monkeypatch.setattr(failures, "_MOST_COUNTED", 30)
    charged(limits, 90, username="canary{}")
    assert len(limits._counts) == 30
    assert "canary" not in repr(limits._counts)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=60))
def test_never_more_than_the_limit_and_what_time_forgives(steps):
    clock = Clock()
    limits = FailureLimits(most=5, within=50, clock=clock)
    looked_at, passed = 0, 0.0
    for is_right, pause in steps:
        clock.now += pause
        passed += pause
        try:
            charge = limits.charge(attempt())
        except TooManyFailures:
            continue
        if is_right:
            limits.refund(charge)
        else:
            looked_at += 1
    assert looked_at <= 5 + passed / 10 + 1
