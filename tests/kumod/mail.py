"""How mail gets into a kumod: SMTP, with or without a login, and HTTP."""

import asyncio
import base64
import smtplib
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.kumod.process import PATIENCE

SENDER, RECIPIENT = "x@a.example", "y@dest.example"


@dataclass(frozen=True, slots=True)
class Reply:
    """The last thing that the server said, and to which command."""

    code: int
    text: str
    to: str


def message(subject: str = "s", **headers: str) -> bytes:
    """A message; `X_Tenant="acme"` is a header."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = ["From: x@a.example", "To: y@dest.example", f"Subject: {subject}", *lines]
    return "\r\n".join([*head, "", "hello", ""]).encode()


async def send(
    port: int,
    sender: str = SENDER,
    *recipients: str,
    data: bytes | None = None,
    login: tuple[str, str] | None = None,
) -> Reply:
    """Hand one message over by SMTP; a login is made over TLS."""
    return await asyncio.to_thread(
        _send, port, sender, recipients or (RECIPIENT,), data if data is not None else message(), login
    )


def _send(
    port: int, sender: str, recipients: tuple[str, ...], data: bytes, login: tuple[str, str] | None
) -> Reply:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE) as client:
        client.ehlo()
        if login:
            client.starttls(context=ssl._create_unverified_context())
            client.ehlo()
            refused = _log_in(client, login)
            if refused:
                return refused
        for command, argument in [("MAIL", f"FROM:<{sender}>"), *(("RCPT", f"TO:<{r}>") for r in recipients)]:
            code, text = client.docmd(command, argument)
            if code >= 300:
                return Reply(code, text.decode(), command)
        code, text = client.data(data)
        return Reply(code, text.decode(), "DATA")


def _log_in(client: smtplib.SMTP, login: tuple[str, str]) -> Reply | None:
    code, text = client.docmd("AUTH", "PLAIN " + base64.b64encode("\0".join(("", *login)).encode()).decode())
    return None if code == 235 else Reply(code, text.decode(), "AUTH")


def _basic(login: tuple[str, str] | None) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()} if login else {}


async def inject(
    port: int,
    *recipients: str,
    content: bytes | None = None,
    login: tuple[str, str] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """What /api/inject/v1 answers, with the HTTP status; `deferred_generation=True` and the like are its settings."""
    body = {
        "envelope_sender": SENDER,
        "content": (content if content is not None else message()).decode(),
        "recipients": [{"email": recipient} for recipient in recipients or (RECIPIENT,)],
        **settings,
    }
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
        session.post(
            f"http://127.0.0.1:{port}/api/inject/v1",
            json=body,
            headers=_basic(login),
        ) as response,
    ):
        answer: dict[str, Any] = await response.json() if response.status == 200 else {}
        return {"status": response.status, **answer}
