"""Pauses differ, and nobody who counts on Python's own generator notices them."""

import random

from policyd.pauses import jittered


def test_pauses_are_in_their_bounds_and_differ():
    pauses = {jittered(10.0) for _ in range(100)}
    assert len(pauses) > 90
    assert all(5.0 <= pause <= 10.0 for pause in pauses)
    assert all(95.0 <= jittered(100.0, 0.95, 1.05) <= 105.0 for _ in range(100))


def test_what_others_draw_from_a_seeded_generator_stays_as_it_was():
    state = random.getstate()
    jittered(1.0)
    assert random.getstate() == state
