"""How mail comes in: SMTP connections and HTTP injection, with kumod's answers to what handlers do."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim.authentication import auth_info_of
from tests.lua.kumo_sim.constructors import Made
from tests.lua.kumo_sim.errors import HandlerFailed, KumoError
from tests.lua.kumo_sim.http_auth import HttpLogin
from tests.lua.kumo_sim.messages import ConnectionMeta, EnvelopeAddress, Message

if TYPE_CHECKING:
    from tests.lua.kumo_sim.node import Node

PEER = "192.0.2.1"
TECHNICAL = (421, "4.3.0 technical difficulties")
DATA = b"From: <%s>\r\nTo: <%s>\r\nSubject: test\r\n\r\nHello.\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client was told, and the messages that came of it."""

    code: int
    text: str
    messages: tuple[Message, ...] = ()


@dataclass(eq=False)
class Session:
    """An SMTP connection. It asks once for each domain, for as long as it lives, and closes at a 421."""

    node: "Node"
    listener: str = "127.0.0.1:25"
    peer: str = "192.0.2.1"
    relay_hosts: Sequence[str] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    closed: bool = False
    _domains: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _conn: ConnectionMeta = field(init=False)

    def __post_init__(self) -> None:
        known = {
            "received_via": self.listener,
            "received_from": f"{self.peer}:41000",
            "reception_protocol": "ESMTP",
            "hostname": "mx.example",
        }
        self._conn = ConnectionMeta(known | self.meta)

    async def auth_plain(self, username: str, password: str, authz: str = "") -> Reply:
        """AUTH PLAIN: 235, 535, the code of a rejection, or 421."""
        return await self.node.process.run(self._auth(authz or username, username, password))

    async def _auth(self, authz: str, authc: str, password: str) -> Reply:
        if "authn_id" in self._conn.meta:
            return Reply(503, "5.5.1 AUTH me once, can't get authed again!")
        try:
            results = await self.node.process.call(
                "smtp_server_auth_plain", authz, authc, password, self._conn
            )
            who = None if results is None else _admitted(results[0] if results else None, authz, authc)
        except HandlerFailed as failure:
            return self._failed(failure)
        if who is None:
            return Reply(535, "5.7.8 AUTH invalid")
        self._conn.meta |= who
        return Reply(235, "2.7.0 AUTH OK!")

    async def ask(self, domain: str) -> dict[str, Any] | None:
        """The listener domain, from the handler or from what this connection remembers."""
        if domain not in self._domains:
            results = await self.node.process.call("get_listener_domain", domain, self.listener, self._conn)
            value = results[0] if results else None
            if value is not None and not (isinstance(value, Made) and value.kind == "listener_domain"):
                raise HandlerFailed(KumoError("error converting Lua value to EsmtpDomain"))
            self._domains[domain] = None if value is None else value.params
        return self._domains[domain]

    async def mail(self, sender: str, *recipients: str, data: bytes | None = None) -> Reply:
        """MAIL, RCPT and DATA, up to the first refusal."""
        return await self.node.process.run(self._mail(sender, recipients, data))

    async def _mail(self, sender: str, recipients: tuple[str, ...], data: bytes | None) -> Reply:
        assert not self.closed, "the connection is closed"
        try:
            for recipient in recipients:
                if not await self._may_relay(sender, recipient):
                    return Reply(550, "5.7.1 relaying not permitted")
        except HandlerFailed as failure:
            return self._failed(failure, rejections=False)
        clock = self.node.clock
        body = data or DATA % (sender.encode(), recipients[0].encode())
        messages = [
            Message(clock, sender, [recipient], body, dict(self._conn.meta)) for recipient in recipients
        ]
        return await self._data(messages)

    async def _data(self, messages: list[Message]) -> Reply:
        node = self.node
        try:
            for message in messages:
                await node.process.call("smtp_server_message_received", message, self._conn)
            for message in messages:
                await node.scheduler.resolve(message.queue)
        except HandlerFailed as failure:
            return self._failed(failure)
        accepted = []
        for message in messages:
            try:
                await node.accept(message)
                accepted.append(message)
            except HandlerFailed as failure:
                node.process.note("ERROR", str(failure))
        if not accepted:
            self.closed = True
            return Reply(*TECHNICAL)
        partial = "" if len(accepted) == len(messages) else " PARTIAL"
        return Reply(250, f"OK{partial} ids={accepted[0].number}", tuple(accepted))

    async def _may_relay(self, sender: str, recipient: str) -> bool:
        peer = ipaddress.ip_address(self.peer)
        by_sender = await self.ask(EnvelopeAddress(sender).domain)
        by_recipient = await self.ask(EnvelopeAddress(recipient).domain)
        networks = [*self.relay_hosts, *((by_sender or {}).get("relay_from") or ())]
        if any(net == "any" or peer in ipaddress.ip_network(net) for net in networks):
            return True
        return bool((by_recipient or {}).get("relay_to"))

    def _failed(self, failure: HandlerFailed, *, rejections: bool = True) -> Reply:
        rejection = failure.rejection if rejections else None
        if rejection is not None:
            self.closed = rejection.code == 421
            return Reply(rejection.code, rejection.message)
        self.node.process.note("ERROR", f"Error in SmtpServer: {failure}")
        self.closed = True
        return Reply(*TECHNICAL)


def _admitted(answer: Any, authz: str, authc: str) -> dict[str, str] | None:
    """The session's identities, as kumod reconciles them with what a handler answers."""
    if answer is True:
        return {"authn_id": authc, "authz_id": authz}
    info = auth_info_of(answer, authc)
    if info is None:
        return None
    if not info["identities"]:
        raise HandlerFailed(
            KumoError("smtp_server_auth_plain returned an AuthInfo with an empty identities list")
        )
    by_context = {each["context"]: each["identity"] for each in info["identities"]}
    authn = by_context.get("SmtpAuthPlainAuthentication", info["identities"][0]["identity"])
    return {"authn_id": authn, "authz_id": by_context.get("SmtpAuthPlainAuthorization", authn)}


@dataclass(frozen=True, slots=True)
class Injection:
    """What the HTTP API answered: always 200 with counts, and with deferred generation it knows nothing yet."""

    success_count: int
    fail_count: int
    errors: tuple[str, ...]
    messages: tuple[Message, ...]

    @classmethod
    async def of(
        cls,
        node: "Node",
        sender: str,
        recipients: Sequence[str],
        data: bytes | None,
        *,
        deferred: bool,
        login: HttpLogin | None,
    ) -> "Injection":
        info = login.auth_info if login else {"peer_address": PEER, "identities": [], "groups": []}
        made = [await _generated(node, sender, recipient, data, info) for recipient in recipients]
        messages = tuple(message for message, _ in made if message is not None)
        errors = () if deferred else tuple(error for _, error in made if error is not None)
        return cls(len(recipients) - len(errors), len(errors), errors, messages)


async def _generated(
    node: "Node", sender: str, recipient: str, data: bytes | None, auth_info: dict[str, Any]
) -> tuple[Message | None, str | None]:
    identities = auth_info["identities"]
    basic = [each["identity"] for each in identities if each["context"] == "HttpBasicAuth"]
    who = [*basic, *(each["identity"] for each in identities), PEER][0]
    meta = {"http_auth": who, "received_from": PEER, "reception_protocol": "HTTP"}
    body = data or DATA % (sender.encode(), recipient.encode())
    message = Message(node.clock, sender, [recipient], body, meta)
    try:
        await node.process.call("http_message_generated", message, auth_info)
        await node.accept(message)
    except HandlerFailed as failure:
        return None, f"{recipient}: {failure}"
    return message, None
