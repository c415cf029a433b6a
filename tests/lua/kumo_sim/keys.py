"""KeySource, kumo.secrets, kumo.digest, kumo.crypto and kumo.encode."""

import base64
import hashlib
import hmac
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from tests.lua.kumo_sim import text_json
from tests.lua.kumo_sim.errors import HandlerFailed, KumoError, NotSimulated
from tests.lua.kumo_sim.formats import is_key_source
from tests.lua.kumo_sim.values import Plain, Userdata, bytes_of, plain, text_of

if TYPE_CHECKING:
    from tests.lua.kumo_sim.context import Native
    from tests.lua.kumo_sim.process import Process

HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512")
HMACS = ("sha1", "sha224", "sha256", "sha384", "sha512")
_IV = 16


class BinaryResult(Userdata):
    """Bytes, and their spellings."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def field(self, name: object) -> Any:
        match name:
            case b"bytes":
                return self._value
            case b"hex":
                return self._value.hex()
            case b"base64":
                return base64.b64encode(self._value)
            case _:
                return super().field(name)

    def as_text(self) -> str:
        return self._value.hex()


async def load(process: "Process", given: Any) -> bytes:
    """What a KeySource names, read now and cached nowhere."""
    source = key_source(given)
    if isinstance(source, bytes):
        return _file(source.decode())
    assert isinstance(source, dict)
    if isinstance(data := source.get(b"key_data"), bytes):
        return data
    if b"event_name" in source:
        return await _event(process, source[b"event_name"].decode(), source[b"event_args"])
    raise NotSimulated("a KeySource of Vault is not simulated")


def key_source(given: Any) -> Plain:
    """The KeySource as plain data."""
    source = given if isinstance(given, bytes | dict) else plain(given)
    if not is_key_source(source):
        raise KumoError("deserialize error: data did not match any variant of untagged enum KeySource")
    return source


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise KumoError(
            f"KeySource failed to load data from file `{path}`: {error.strerror} (os error {error.errno})"
        ) from None


async def _event(process: "Process", event: str, arguments: list[Any]) -> bytes:
    try:
        async with process.context(discard=True) as context:
            results = await context.call(event, *arguments)
    except HandlerFailed as failure:
        raise KumoError(str(failure)) from None
    if results is None:
        raise KumoError(f"Event {event} has not been registered")
    return bytes_of(results[0] if results else None)


def _digest(name: str) -> Any:
    return lambda *parts: BinaryResult(hashlib.new(name, b"".join(map(_hashed, parts))).digest())


def _hashed(part: Any) -> bytes:
    return part if isinstance(part, bytes) else text_json.encode(plain(part)).encode()


def _hmac(process: "Process", name: str) -> Any:
    async def call(key: Any, message: Any = None) -> BinaryResult:
        signed = bytes_of(message)
        return BinaryResult(hmac.digest(await load(process, key), signed, name))

    return call


async def _cipher_key(process: "Process", mode: Any, config: Any) -> bytes:
    if mode not in {b"Cbc", b"Ecb"}:
        raise KumoError("deserialize error: unknown variant, expected `Ecb` or `Cbc`")
    if mode == b"Ecb":
        raise NotSimulated("kumo.crypto with Ecb is not simulated")
    given = plain(config)
    if not isinstance(given, dict) or b"key" not in given:
        raise KumoError("deserialize error: missing field `key`")
    key = await load(process, given[b"key"])
    if len(key) not in {16, 32}:
        raise KumoError("Key length must be 16 or 32 bytes")
    return key


async def _encrypt(process: "Process", mode: Any, data: Any, config: Any) -> bytes:
    key, iv = await _cipher_key(process, mode, config), os.urandom(_IV)
    padder, cipher = PKCS7(128).padder(), Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return iv + cipher.update(padder.update(bytes_of(data)) + padder.finalize()) + cipher.finalize()


async def _decrypt(process: "Process", mode: Any, data: Any, config: Any) -> BinaryResult:
    key, text = await _cipher_key(process, mode, config), bytes_of(data)
    if len(text) < _IV:
        raise KumoError("ciphertext must be prefixed by iv with len at least 16")
    cipher, padding = Cipher(algorithms.AES(key), modes.CBC(text[:_IV])).decryptor(), PKCS7(128).unpadder()
    try:
        padded = cipher.update(text[_IV:]) + cipher.finalize()
        return BinaryResult(padding.update(padded) + padding.finalize())
    except ValueError:
        raise KumoError("Unspecified") from None


def _decoder(decode: Any) -> Any:
    def call(data: Any) -> Any:
        try:
            return decode(text_of(data))
        except ValueError as error:
            raise KumoError(f"decode error: {error}") from None

    return call


def library(process: "Process") -> dict[str, "Native"]:
    from tests.lua.kumo_sim.context import Native

    return {
        "kumo.secrets.load": Native(lambda source: load(process, source), awaits=True),
        **{f"kumo.digest.{name}": Native(_digest(name)) for name in HASHES},
        **{f"kumo.digest.hmac_{name}": Native(_hmac(process, name), awaits=True) for name in HMACS},
        "kumo.crypto.aes_encrypt_block": Native(lambda *given: _encrypt(process, *given), awaits=True),
        "kumo.crypto.aes_decrypt_block": Native(lambda *given: _decrypt(process, *given), awaits=True),
        "kumo.encode.base64_encode": Native(lambda data: base64.b64encode(bytes_of(data))),
        "kumo.encode.base64_decode": Native(_decoder(lambda text: base64.b64decode(text, validate=True))),
        "kumo.encode.base64url_encode": Native(lambda data: base64.urlsafe_b64encode(bytes_of(data))),
        "kumo.encode.base64url_decode": Native(_decoder(base64.urlsafe_b64decode)),
        "kumo.encode.hex_encode": Native(lambda data: bytes_of(data).hex()),
        "kumo.encode.hex_decode": Native(_decoder(bytes.fromhex)),
    }
