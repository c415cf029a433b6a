"""What the server has to say beside its answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from policyd.store.pool import Connection


@asynccontextmanager
async def notices_of(
    connection: Connection, hear: Callable[[str, str, str | None], None]
) -> AsyncIterator[None]:
    """Tell *hear* of each NOTICE and WARNING meanwhile: severity, message, hint."""

    def listener(_: object, message: object) -> None:
        hear(
            str(getattr(message, "severity_en", None) or getattr(message, "severity", "NOTICE")),
            str(getattr(message, "message", message)),
            getattr(message, "hint", None),
        )

    connection.add_log_listener(listener)
    try:
        yield
    finally:
        connection.remove_log_listener(listener)
