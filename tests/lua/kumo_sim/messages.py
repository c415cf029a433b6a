"""Messages and connections as handlers see them."""

import email.utils
import itertools
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim import text_json
from tests.lua.kumo_sim.clock import Clock
from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.values import Userdata, bytes_of, decoded, lua_kind, plain, text_of

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process

_ids = itertools.count(1)


class EnvelopeAddress(Userdata):
    """An address of the envelope."""

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2] if "@" in self.address else ""

    def field(self, name: object) -> Any:
        match name:
            case b"user":
                return self.address.rpartition("@")[0]
            case b"domain":
                return self.domain
            case b"email":
                return self.address
            case _:
                return None

    def as_text(self) -> str:
        return self.address


class HeaderAddressList(Userdata):
    """The addresses of a header; fields are those of the only address, and raise if there are more."""

    def __init__(self, value: str) -> None:
        self._addresses = [pair for pair in email.utils.getaddresses([value]) if pair[1]]

    def field(self, name: object) -> Any:
        if name not in {b"user", b"domain", b"email", b"name"}:
            return None
        if len(self._addresses) != 1:
            raise KumoError("is not a simple single address" if self._addresses else "no addresses")
        shown, address = self._addresses[0]
        user, _, domain = address.rpartition("@")
        return {b"user": user, b"domain": domain, b"email": address, b"name": shown or None}[name]


class Metadata(Userdata):
    """Something with metadata, which is JSON."""

    def __init__(self, meta: dict[str, Any] | None = None) -> None:
        self.meta: dict[str, Any] = dict(meta or {})

    def _set(self, name: Any, value: Any) -> tuple[()]:
        # Plain serde, not kumod's own conversion: a memoized table is refused here.
        if isinstance(value, Userdata):
            raise KumoError("cannot serialize <userdata>")
        self.meta[text_of(name)] = decoded(plain(value, serializing=True))
        return ()

    def _get(self, name: Any) -> Any:
        return self.meta.get(text_of(name))


class ConnectionMeta(Metadata):
    """The metadata of an SMTP connection."""

    sync = ("set_meta", "get_meta")
    elsewhere = ("auth_info",)

    def set_meta(self, name: Any, value: Any = None) -> tuple[()]:
        return self._set(name, value)

    def get_meta(self, name: Any) -> Any:
        return self._get(name)


class Message(Metadata):
    """A message, in the spool or on its way there."""

    sync = ("id", "num_attempts", "increment_num_attempts", "set_data")
    awaiting = (
        "set_meta", "get_meta", "get_data", "sender", "queue_name", "set_due", "recipient", "recipient_list", "dkim_sign",
        "prepend_header", "append_header", "from_header", "get_address_header", "get_first_named_header_value",
        "get_all_named_header_values", "get_all_headers", "remove_all_named_headers", "remove_x_headers", "import_x_headers",
        "import_scheduling_header", "set_sender", "set_recipient",
    )  # fmt: skip
    elsewhere = (
        "parse_mime", "append_text_plain", "append_text_html", "shrink", "shrink_data", "add_authentication_results",
        "arc_verify", "arc_seal", "dkim_verify", "to_header", "import_headers", "set_scheduling", "parse_rfc3464",
        "parse_rfc5965", "save", "set_force_sync", "check_fix_conformance",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        sender: str,
        recipients: list[str],
        data: bytes,
        meta: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(meta)
        self.clock = clock
        self.created = clock.now
        self.number = f"{next(_ids):032x}"
        self.envelope_from = sender
        self.recipients = recipients
        self.due: float | None = None
        self.attempts = 0
        self.signed_by: list[dict[str, Any]] = []
        self.scheduling: Any = None
        self._headers: list[tuple[str, str]] = []
        self._body = b""
        self.set_data(data)

    def id(self) -> str:
        return self.number

    def num_attempts(self) -> int:
        return self.attempts

    def increment_num_attempts(self) -> tuple[()]:
        self.attempts += 1
        return ()

    def set_data(self, data: Any) -> tuple[()]:
        head, _, self._body = bytes_of(data).replace(b"\r\n", b"\n").partition(b"\n\n")
        unfolded = re.sub(r"\n[ \t]+", " ", head.decode(errors="replace"))
        lines = (line.partition(":") for line in unfolded.split("\n") if ":" in line)
        self._headers = [(name.strip(), value.strip()) for name, _, value in lines]
        return ()

    def data(self) -> bytes:
        """The message as it would go out."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self._headers)
        return head.encode() + b"\r\n" + self._body.replace(b"\n", b"\r\n")

    def values_of(self, name: str) -> list[str]:
        return [value for known, value in self._headers if known.lower() == name.lower()]

    def header_pairs(self) -> list[tuple[str, str]]:
        return list(self._headers)

    def put_header(self, name: str, value: str) -> None:
        """Put a header on top."""
        self._headers.insert(0, (name, value))

    @property
    def queue(self) -> str:
        """The name of its queue."""
        if (named := self.meta.get("queue")) is not None:
            return str(named)
        tenant, campaign, routing = (self.meta.get(key) for key in ("tenant", "campaign", "routing_domain"))
        who = f"{campaign}:{tenant or ''}@" if campaign else f"{tenant}@" if tenant else ""
        domain = EnvelopeAddress(self.recipients[0]).domain.lower()
        return f"{who}{domain}" + (f"!{routing}" if routing else "")

    def delay(self, seconds: float) -> None:
        self.due = self.clock.now + seconds

    async def set_meta(self, name: Any, value: Any = None) -> tuple[()]:
        return self._set(name, value)

    async def get_meta(self, name: Any) -> Any:
        return self._get(name)

    async def get_data(self) -> bytes:
        return self.data()

    async def sender(self) -> EnvelopeAddress:
        return EnvelopeAddress(self.envelope_from)

    async def set_sender(self, address: Any) -> tuple[()]:
        self.envelope_from = _address(address)
        return ()

    async def recipient(self) -> Any:
        found = [EnvelopeAddress(address) for address in self.recipients]
        return found[0] if len(found) == 1 else found or None

    async def recipient_list(self) -> list[EnvelopeAddress]:
        return [EnvelopeAddress(address) for address in self.recipients]

    async def set_recipient(self, address: Any) -> tuple[()]:
        self.recipients = [_address(address)]
        return ()

    async def queue_name(self) -> str:
        return self.queue

    async def set_due(self, due: Any = None) -> str | None:
        """Set when it is due: nil, or a date in RFC 3339; a number is refused."""
        if due is None:
            self.due = None
            return None
        if not isinstance(due, bytes):
            raise KumoError(
                f"deserialize error: invalid type: {lua_kind(due)}, expected an RFC 3339 formatted date"
            )
        try:
            when = datetime.fromisoformat(due.decode())
        except ValueError:
            raise KumoError("deserialize error: input contains invalid characters") from None
        if when.tzinfo is None:
            raise KumoError("deserialize error: premature end of input")
        self.due = self.clock.now + when.timestamp() - self.clock.wall
        return when.astimezone(UTC).isoformat().replace("+00:00", "Z")

    async def dkim_sign(self, signer: Any) -> tuple[()]:
        if not hasattr(signer, "sign"):
            raise KumoError(f"error converting Lua {lua_kind(signer)} to Signer")
        signer.sign(self)
        return ()

    async def prepend_header(self, name: Any, value: Any, _encode: Any = None) -> tuple[()]:
        self.put_header(text_of(name), text_of(value))
        return ()

    async def append_header(self, name: Any, value: Any, _encode: Any = None) -> tuple[()]:
        self._headers.append((text_of(name), text_of(value)))
        return ()

    async def get_address_header(self, name: Any) -> HeaderAddressList | None:
        found = self.values_of(text_of(name))
        return HeaderAddressList(found[0]) if found else None

    async def from_header(self) -> HeaderAddressList | None:
        return await self.get_address_header(b"From")

    async def get_first_named_header_value(self, name: Any) -> str | None:
        return next(iter(self.values_of(text_of(name))), None)

    async def get_all_named_header_values(self, name: Any) -> list[str]:
        return self.values_of(text_of(name))

    async def get_all_headers(self) -> list[list[str]]:
        return [list(pair) for pair in self._headers]

    async def remove_all_named_headers(self, name: Any) -> tuple[()]:
        self._remove([text_of(name)])
        return ()

    async def remove_x_headers(self, names: Any = None) -> tuple[()]:
        wanted = _names(names)
        self._remove(wanted or [name for name, _ in self._headers if name.lower().startswith("x-")])
        return ()

    async def import_x_headers(self, names: Any = None) -> tuple[()]:
        wanted = [name.lower() for name in _names(names)]
        for name, value in self._headers:
            if name.lower() in wanted or (not wanted and name.lower().startswith("x-")):
                self.meta.setdefault(name.lower().replace("-", "_"), value)
        return ()

    async def import_scheduling_header(self, name: Any, remove: Any = False) -> Any:
        header = text_of(name)
        found = self.values_of(header)
        if not found:
            return None
        try:
            self.scheduling = text_json.parse(found[0])
        except KumoError:
            raise KumoError(f"{found[0]} from header {header} is not a valid Scheduling header") from None
        if remove:
            self._remove([header])
        return self.scheduling

    def _remove(self, names: list[str]) -> None:
        unwanted = {name.lower() for name in names}
        self._headers = [pair for pair in self._headers if pair[0].lower() not in unwanted]


def _names(names: Any) -> list[str]:
    return [] if names is None else [text_of(name) for name in names.values()]


def _address(address: Any) -> str:
    return address.address if isinstance(address, EnvelopeAddress) else text_of(address)


def make_message(process: "Process", sender: Any, recipient: Any, data: Any) -> Message:
    """kumo.make_message, for the simulated node as for a policy."""
    text = [text_of(sender), text_of(recipient)]
    for address in text:
        if "*" in address:
            raise KumoError(f"failed to parse address {address}")
    return Message(process.clock, text[0], [text[1]], bytes_of(data))
