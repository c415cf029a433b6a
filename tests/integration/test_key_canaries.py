"""Private keys are in the answer to who may have them, and in nothing else that the service says, keeps or is."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from policyd.observe.events import KeyChanged
from policyd.store.pool import Connection
from tests.integration.conftest import head, make_token
from tests.integration.signing import RESTLESS, Signing, signing
from tests.integration.test_canaries import Heard, hear_objects, hear_tables
from tests.integration.wire import wire
from tests.logged import logged
from tests.unit.keys.pems import ed25519_pem, rsa_pem

GARBAGE = "CanaryOfAKeyThatIsNone"
PARTS = [
    line.decode()
    for pem in (rsa_pem(), rsa_pem(number=1), ed25519_pem())
    for line in pem.splitlines()
    # What every PKCS#8 key begins with is no secret.
    if not line.startswith((b"-----", b"MIIE", b"MIGE"))
]
REQUESTS = [
    "GET /dkim/a.example",
    "GET /dkim/bad.example",
    "GET /dkim/bad.example/s1",
    "GET /dkim/a.example/s1",
    "HEAD /dkim/a.example/s1",
    "POST /dkim/a.example/s1",
    f"GET /dkim/a.example/s1?key_id={'0' * 64}",
    "GET /dkim/a.example/s1?key_id=x",
    "GET /dkim/a.example%2Fs1",
    "GET /names/dkim_domain",
    "GET /changes",
    "POST /batch",
]


def assert_secret(heard: Heard) -> None:
    for where, what in heard.said:
        assert GARBAGE.lower() not in what.lower(), where
        for part in PARTS:
            assert part not in what, where


async def ask_everything(signer: Signing, heard: Heard, token: str) -> None:
    for request in REQUESTS:
        body = '["/dkim/a.example", "/dkim/a.example/s1"]'
        async with wire(signer.service.url) as connection:
            reply = await connection.ask(
                f"{request} HTTP/1.1", "Host: policyd", f"Authorization: Bearer {token}",
                f"Content-Length: {len(body)}", body=body.encode(), bodiless=request.startswith("HEAD"),
            )  # fmt: skip
        heard.hear(f"{request} with {token}", f"{reply.status} {reply.headers} {reply.body!r}")
    for path in ("/metrics", "/readyz?verbose", "/explain/dkim/a.example", "/explain/dkim/bad.example"):
        async with wire(signer.service.admin_url) as connection:
            reply = await connection.ask(
                f"GET {path} HTTP/1.1", "Host: policyd", f"Authorization: Bearer {token}"
            )
        heard.hear(path, f"{reply.headers} {reply.body!r}")


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_private_key_is_heard_from_a_service(
    dsn: str, db: Connection, tmp_path: Path, form: Literal["text", "json"]
) -> None:
    heard = Heard()
    with logged("debug", form) as written:
        rows = "insert into policy.dkim_domain (domain) values ('bad.example')"
        async with signing(dsn, db, tmp_path, dkim=RESTLESS, rows=rows) as signer:
            signer.files.write("a.example/s1", rsa_pem())
            signer.files.write("bad.example/s1", f"-----BEGIN PRIVATE KEY-----\n{GARBAGE}\n".encode())
            await make_token(db, "limited.0123456789abcdefghij", ("dkim", "admin"))
            await db.execute("update policy.api_token set domains = '{other.example}' where name = 'limited'")
            await make_token(db, "lookups.0123456789abcdefghij", ("lookup", "admin"))
            for _ in range(2):
                for name in ("limited", "lookups", "nobody"):
                    await ask_everything(signer, heard, f"{name}.0123456789abcdefghij")
                # Who may have it gets it, and from then on it is in memory.
                assert "PRIVATE KEY" in (await signer.service.get("/dkim/a.example/s1"))[1]["answer"]["key"]
                hear_objects(heard)
                signer.files.write("a.example/s1", rsa_pem(number=1))
                await signer.service.observations.wait_for(lambda seen: isinstance(seen, KeyChanged))
                await signer.service.reach(await head(db))
            heard.hear("observations", signer.service.observations.seen)
        await hear_tables(db, heard)
        heard.hear("log", written.getvalue())
        await asyncio.sleep(0)
    for expected in (
        "private key sent",
        "a private key cannot be used",
        "a private key was replaced",
        "token refused",
    ):
        assert expected in written.getvalue()
    assert {"Held", "PrivateKey", "Keyring", "KeySent"} <= {where for where, _ in heard.said}
    assert_secret(heard)
