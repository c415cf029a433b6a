"""The log as the service writes it, read by a test."""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from typing import Literal

from policyd.observe.logs import set_up_logging


@contextlib.contextmanager
def logged(level: str, form: Literal["text", "json"]) -> Iterator[io.StringIO]:
    """What is written while logging is set up as the service does it; afterwards it is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("policyd")
    before = root.handlers[:], root.level, ours.level
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            set_up_logging(level=level, form=form)
            assert root.handlers[0].stream is written  # type: ignore[attr-defined]  # a StreamHandler
        yield written
    finally:
        root.handlers[:], root.level, ours.level = before
        assert sys.stderr is not written
