"""DKIM signers: keys out of a KeySource, cached by it; what would have been signed is recorded, and a header says so."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization

from tests.lua.kumo_sim import keys, text_json
from tests.lua.kumo_sim.context import Native
from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.formats import seconds_of
from tests.lua.kumo_sim.memoize import FAILED_FOR
from tests.lua.kumo_sim.records import Field, record
from tests.lua.kumo_sim.values import Userdata, decoded, plain

if TYPE_CHECKING:
    from tests.lua.kumo_sim.messages import Message
    from tests.lua.kumo_sim.process import Process

SIGNER = {
    "domain": Field("text", required=True),
    "selector": Field("text", required=True),
    "headers": Field("list:text", required=True),
    "key": Field("secret", required=True),
    "atps": Field("text"),
    "atpsh": Field("enum:Sha1|Sha256"),
    "agent_user_identifier": Field("text"),
    "expiration": Field("count"),
    "body_length": Field("bool"),
    "reporting": Field("bool"),
    "header_canonicalization": Field("enum:Relaxed|Simple"),
    "body_canonicalization": Field("enum:Relaxed|Simple"),
    "over_sign": Field("bool"),
    "ttl": Field("duration"),
}
_UNSUPPORTED = ("atps", "atpsh", "agent_user_identifier", "body_length", "reporting")


@dataclass(eq=False)
class Signer(Userdata):
    """A signer: by what it was made, parameters and the key's bytes, for tests to look at."""

    maker: str
    params: dict[str, Any]
    key: bytes

    def sign(self, message: "Message") -> None:
        message.signed_by.append({**self.params, "maker": self.maker, "key_bytes": self.key})
        value = f"v=1; d={self.params['domain']}; s={self.params['selector']}; simulated"
        message.put_header("DKIM-Signature", value)


@dataclass(frozen=True, slots=True)
class Cached:
    """A signer or a key, or why there is none, until it expires."""

    expires: float
    value: Any = None
    failure: str | None = None


def library(process: "Process") -> dict[str, Native]:
    # One function under two names, as far as kumod is concerned: the key decides.
    async def signer(maker: str, params: Any = None) -> Signer:
        made = await _signer(process, params)
        return Signer(maker, made.params, made.key)

    return {
        **{
            f"kumo.dkim.{maker}": Native(functools.partial(signer, maker), awaits=True)
            for maker in ("rsa_sha256_signer", "ed25519_signer")
        },
        "kumo.dkim.set_signing_threads": Native(lambda _: ()),
    }


async def _signer(process: "Process", params: Any) -> Signer:
    given = record("SignerConfig", SIGNER, params, lenient=True)
    ttl = seconds_of(given.get("ttl", 300))

    async def make() -> Signer:
        source = given["key"]
        try:
            key: bytes = await _cached(process, "key", _identity(source), ttl, lambda: _key(process, source))
        except KumoError as error:
            # With the KeySource, inline key bytes included, as kumod does.
            raise KumoError(f"{decoded(source)!r}: {error}") from None
        for name in _UNSUPPORTED:
            if given.get(name):
                raise KumoError(f"{name} is not currently supported for RSA keys")
        headers = given["headers"] if isinstance(given["headers"], list) else []
        if b"from" not in [header.lower() for header in headers]:
            raise KumoError("configure signed headers: missing From in the list of signed headers")
        shown = {name: value for name, value in decoded(given).items() if name != "key"}
        return Signer("", {**shown, "key": decoded(source)}, key)

    identity = _identity(plain(params))
    made: Signer = await _cached(process, "signer", identity, ttl, make)
    return made


def _identity(value: Any) -> str:
    return text_json.encode(value, sort=True)


async def _cached(process: "Process", kind: str, identity: str, ttl: float, load: Any) -> Any:
    known = process.keys.get((kind, identity))
    now = process.clock.now
    if known is None or now >= known.expires:
        try:
            known = Cached(now + ttl, value=await load())
        except KumoError as error:
            known = Cached(now + FAILED_FOR, failure=str(error))
        process.keys[kind, identity] = known
    if known.failure is not None:
        raise KumoError(known.failure)
    return known.value


async def _key(process: "Process", source: Any) -> bytes:
    data = await keys.load(process, source)
    for load in (serialization.load_pem_private_key, serialization.load_der_private_key):
        try:
            # Whether an RSA key's numbers fit together takes a tenth of a second, and is not what is tested here.
            load(data, password=None, unsafe_skip_rsa_key_validation=True)
        except (ValueError, TypeError):
            continue
        return data
    raise KumoError("failed to parse the private key")
