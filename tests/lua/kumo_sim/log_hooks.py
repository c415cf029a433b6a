"""Log records on their way to log hooks: one event per record and hook, and a message in a queue of its own."""

from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim import text_json
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.kumo_sim.messages import Message

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process
    from tests.lua.kumo_sim.scheduling import Scheduler


class LogMessage(Message):
    """A message that is a log record: its data are no headers and body, but what the hook made of the record."""

    text = b""

    def data(self) -> bytes:
        return self.text


def log_record(
    process: "Process", kind: str, message: Message, response: str, **fields: Any
) -> dict[str, Any]:
    """A record as kumod makes it, less what nothing here knows."""
    code, _, content = response.partition(" ")
    return {
        "type": kind,
        "id": message.number,
        "sender": message.envelope_from,
        "recipient": list(message.recipients),
        "queue": message.queue,
        "site": "",
        "size": len(message.data()),
        "response": {"code": int(code) if code.isdigit() else 200, "content": content},
        "timestamp": int(process.clock.wall),
        "event_time": process.clock.wall,
        "created": int(process.clock.wall - (process.clock.now - message.created)),
        "num_attempts": message.attempts,
        "egress_pool": fields.get("pool"),
        "egress_source": fields.get("source"),
        "reception_protocol": message.meta.get("reception_protocol"),
        "nodeid": "00000000-0000-0000-0000-000000000000",
        "meta": {},
        "headers": {},
    }


async def offer(process: "Process", scheduler: "Scheduler", record: dict[str, Any], message: Message) -> None:
    """Ask for every hook whether it wants the record, and enqueue what is wanted."""
    for name, hook in process.log_hooks.items():
        kinds = hook.get("per_record") or {}
        rules = kinds.get(record["type"], kinds.get("Any", {}))
        if rules.get("enable", True) is False:
            continue
        shown = {
            **record,
            "meta": {key: message.meta.get(key) for key in hook.get("meta") or () if key in message.meta},
            "headers": _headers(message, hook.get("headers") or ()),
        }
        body = text_json.encode(shown)
        entry = LogMessage(process.clock, record["sender"], record["recipient"], b"")
        entry.text = body.encode() + b"\n"
        entry.meta = {**shown["meta"], "log_record": shown, "reception_protocol": "LogRecord"}
        try:
            results = await process.call("should_enqueue_log_record", entry, name)
            # nil converts to false, no handler's word too.
            if results and results[0] not in {None, False}:
                await scheduler.insert(entry)
        except HandlerFailed as failure:
            process.note("ERROR", f"Error while calling should_enqueue_log_record: {failure}")


def _headers(message: Message, wanted: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in message.header_pairs()
        if any(_matches(name.lower(), pattern.lower()) for pattern in wanted)
    }


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern.rstrip("*")) if pattern.endswith("*") else name == pattern
