"""What kumod's own side raises: in Lua each of these is a userdata, never a string."""


class KumoError(Exception):
    """An error that the Rust side of kumod raises."""

    def as_lua_shows_it(self) -> str:
        """What `tostring` makes of it: mlua adds a stack traceback."""
        return f"{self}\nstack traceback:\n\t[C]: in ?"


class Rejected(KumoError):
    """What `kumo.reject` raises."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message


class NotSimulated(KumoError):
    """The policy used something of kumod that this simulation does not have."""


class Stuck(AssertionError):
    """Nothing can happen any more, and what the test waits for has not."""


class HandlerFailed(Exception):
    """A handler raised: what kumod logs, and what kind of error it was."""

    def __init__(self, error: object) -> None:
        super().__init__(shown(error))
        self.error = error if isinstance(error, KumoError | bytes) else None

    @property
    def rejection(self) -> Rejected | None:
        """The rejection, if it was one that nobody turned into text."""
        return self.error if isinstance(self.error, Rejected) else None


def shown(error: object) -> str:
    """How mlua displays what Lua raised."""
    if isinstance(error, KumoError):
        return str(error)
    if isinstance(error, bytes):
        return f"runtime error: {error.decode(errors='replace')}"
    return f"runtime error: <{type(error).__name__}>"
