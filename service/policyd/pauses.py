"""Pauses with jitter: what many processes do again and again they shall not do at the same moments."""

from random import SystemRandom

# Not the module's own generator: who shares this process, and has seeded it, counts on what comes next.
_uniform = SystemRandom().uniform


def jittered(seconds: float, least: float = 0.5, most: float = 1.0) -> float:
    """A duration between *least* and *most* times *seconds*, another one at each call."""
    return seconds * _uniform(least, most)
