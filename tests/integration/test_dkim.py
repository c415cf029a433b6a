"""Signing plans and private keys, from rows and files, through the service."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from policyd.live import keyring
from policyd.observe.events import CurrencyRegained, KeyChanged, KeySent, KeyUnusable
from policyd.policy import dkim
from policyd.policy.token import hash_secret
from policyd.store.pool import Connection
from tests.integration.conftest import head, serving
from tests.integration.signing import RESTLESS, Signing, fingerprint, signing
from tests.integration.sql_log import changes
from tests.integration.sql_log import head as revision
from tests.unit.keys.pems import damaged_rsa_pem, ed25519_pem, rsa_pem

FIRST, SECOND, MODERN = (fingerprint(pem) for pem in (rsa_pem(), rsa_pem(number=1), ed25519_pem()))


@pytest.fixture
async def signer(dsn: str, db: Connection, tmp_path: Path) -> AsyncIterator[Signing]:
    async with signing(dsn, db, tmp_path) as made:
        yield made


def key_id(plan: list[dict[str, str]]) -> str | None:
    (signature,) = plan
    return signature.get("key_id")


def problem(plan: list[dict[str, str]]) -> str | None:
    (signature,) = plan
    assert ("key_id" in signature) != ("key_problem" in signature)
    return signature.get("key_problem")


async def test_a_key_is_sighted_for_the_first_plan_and_that_is_no_change(signer: Signing) -> None:
    signer.files.write("a.example/s1", rsa_pem())
    before = await revision(signer.db)
    assert await signer.plan() == [
        {
            "domain": "a.example",
            "selector": "s1",
            "algorithm": "sha256",
            "headers": ["From", "To", "Subject", "Date", "MIME-Version", "Content-Type", "Sender"],
            "key_id": FIRST,
            "key": {"root": "default", "name": "a.example/s1"},
        }
    ]
    assert await revision(signer.db) == before
    assert await signer.db.fetchval("select key_id from policy.dkim_key_seen") == FIRST


async def test_a_plan_whose_key_is_not_there_says_so_and_heals_by_itself(
    signer: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (dkim.ASK_AGAIN_AFTER, keyring._PROBLEM_FOR) == (10.0, 3.0)
    monkeypatch.setattr(dkim, "ASK_AGAIN_AFTER", 0.5)
    monkeypatch.setattr(keyring, "_PROBLEM_FOR", 0.2)
    asked_at = time.time()
    status, body, _ = await signer.service.get("/dkim/a.example")
    assert (status, problem(body["answer"]["signatures"])) == (200, "missing")
    assert asked_at < body["valid_until"] <= time.time() + 0.5
    signer.files.write("a.example/s1", rsa_pem())
    async with asyncio.timeout(20):
        while problem(await signer.plan()) is not None:
            pass
    assert time.time() - asked_at > 0.4
    assert key_id(await signer.plan()) == FIRST


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", rsa_pem(1024), damaged_rsa_pem()],
    ids=("empty", "garbage", "too short", "damaged"),
)
async def test_a_key_that_cannot_be_used_is_told_in_the_plan_and_refused(
    signer: Signing, content: bytes
) -> None:
    signer.files.write("a.example/s1", content)
    assert problem(await signer.plan()) == "unusable"
    assert await signer.key() == (503, "key-unusable")
    assert any(isinstance(seen, KeyUnusable) for seen in signer.service.observations.seen)


async def test_a_key_of_another_algorithm_than_its_row_says_does_not_sign(signer: Signing) -> None:
    signer.files.write("a.example/s1", rsa_pem())
    await signer.db.execute("update policy.dkim_domain set algorithm = 'ed25519'")
    assert problem(await signer.plan()) == "wrong-algorithm"
    signer.files.write("a.example/s1", ed25519_pem())
    # Nobody waits for the key's turn: the answer was of no use.
    await signer.service.observations.wait_for(lambda seen: isinstance(seen, KeyChanged))
    assert key_id(await signer.plan()) == MODERN


async def test_where_keys_cannot_be_read_a_plan_is_a_503_and_others_are_answered(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    async with signing(dsn, db, tmp_path / "keys") as signer:
        signer.files.write("a.example/s1", rsa_pem())
        await signer.plan()
        await db.execute("insert into policy.dkim_domain (domain) values ('b.example')")
        (tmp_path / "keys").rename(tmp_path / "unmounted")
        status, body, headers = await signer.service.get("/dkim/b.example", Policy_Position=await head(db))
        assert (status, body["type"], headers["Retry-After"]) == (503, "urn:policyd:problem:unavailable", "1")
        assert str(tmp_path) not in str(body)
        assert key_id(await signer.plan()) == FIRST
        assert await signer.key(f"a.example/s1?key_id={FIRST}") == (200, FIRST)
        status, _, headers = await signer.service.get("/dkim/a.example/s1")
        assert (status, headers["Policy-Stale"]) == (200, "true")
        assert await signer.key(f"a.example/s1?key_id={SECOND}") == (503, "unavailable")
        (tmp_path / "unmounted").rename(tmp_path / "keys")
        assert problem(await signer.plan("b.example")) == "missing"


async def test_a_key_replaced_outside_is_one_change_and_never_answered_for_the_other(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    async with signing(dsn, db, tmp_path, dkim=RESTLESS) as signer:
        signer.files.write("a.example/s1", rsa_pem())
        assert key_id(await signer.plan()) == FIRST
        before = await revision(db)
        signer.files.write("a.example/s1", rsa_pem(number=1))
        changed = await signer.service.observations.wait_for(lambda seen: isinstance(seen, KeyChanged))
        assert changed == KeyChanged(root="default", name="a.example/s1", before=FIRST, key_id=SECOND)
        assert key_id(await signer.plan()) == SECOND
        assert [change.tags for change in await changes(db, before)] == [["dkim_key/default/a.example%2Fs1"]]
        # Who still has the old plan still gets the old key, as long as it is remembered.
        assert await signer.key(f"a.example/s1?key_id={FIRST}") == (200, FIRST)
        assert await signer.key(f"a.example/s1?key_id={SECOND}") == (200, SECOND)


async def test_replicas_agree_on_a_replaced_key_and_it_is_one_change(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    async with signing(dsn, db, tmp_path, dkim=RESTLESS) as signer:
        signer.files.write("a.example/s1", rsa_pem())
        await signer.plan()
        async with serving(signer.config) as other:
            before = await revision(db)
            signer.files.write("a.example/s1", rsa_pem(number=1))
            services = (signer.service, other)
            noticing = [
                asyncio.ensure_future(each.observations.wait_for(lambda seen: isinstance(seen, KeyChanged)))
                for each in services
            ]
            await asyncio.wait(noticing, return_when=asyncio.FIRST_COMPLETED)
            for task in noticing:
                task.cancel()
            await asyncio.sleep(2)  # both have looked at it since
            assert len(await changes(db, before)) == 1
            for each in services:
                _, body, _ = await each.get("/dkim/a.example", Policy_Position=await head(db))
                assert key_id(body["answer"]["signatures"]) == SECOND


async def test_who_fetches_a_key_that_was_replaced_is_told_and_the_change_is_known_at_once(
    signer: Signing,
) -> None:
    signer.files.write("a.example/s1", rsa_pem())
    await signer.db.execute(
        "select policy.note_dkim_key('default', 'a.example/s1', $1, 'sha256', null)", SECOND
    )
    assert key_id(await signer.plan()) == SECOND
    assert await signer.key(f"a.example/s1?key_id={SECOND}") == (503, "key-gone")
    assert key_id(await signer.plan()) == FIRST
    assert await signer.key(f"a.example/s1?key_id={FIRST}") == (200, FIRST)


async def test_a_key_that_is_gone_stays_known_while_somebody_remembers_it(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    async with signing(dsn, db, tmp_path, dkim=RESTLESS) as signer:
        signer.files.write("a.example/s1", rsa_pem())
        await signer.plan()
        signer.files.remove("a.example/s1")
        await signer.service.observations.wait_for(lambda seen: isinstance(seen, KeyUnusable))
        assert key_id(await signer.plan()) == FIRST
        assert await signer.key(f"a.example/s1?key_id={FIRST}") == (200, FIRST)
        assert await signer.key() == (404, None)
    async with serving(signer.config) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        status, body, _ = await service.get(f"/dkim/a.example/s1?key_id={FIRST}")
        assert (status, body["type"]) == (503, "urn:policyd:problem:key-gone")


async def test_a_key_is_answered_without_a_row_and_after_the_row_is_gone(signer: Signing) -> None:
    signer.files.write("nobody.example/s9", ed25519_pem())
    assert await signer.key("nobody.example/s9") == (200, MODERN)
    assert await signer.key("NOBODY.example./s9") == (200, MODERN)
    assert await signer.key("nobody.example/s8") == (404, None)


async def test_a_shared_key_is_answered_for_each_domain_that_signs_with_it(signer: Signing) -> None:
    signer.files.write("shared/2026a", rsa_pem())
    await signer.db.execute(
        """
        insert into policy.dkim_domain (domain, key_name) values ('b.example', 'shared/2026a'), ('*.c.example', 'shared/2026a');
        insert into policy.dkim_signature (name, domain, selector, key_name) values ('esp', 'esp.example', 'e1', 'shared/2026a');
        insert into policy.dkim_additional_signature values (0, 'esp');
        """
    )
    for domain in ("b.example", "x.c.example"):
        plan = await signer.plan(domain)
        assert [(each["domain"], each["key_id"]) for each in plan] == [
            (domain, FIRST),
            ("esp.example", FIRST),
        ]
        for path in (f"{domain}/s1", "esp.example/e1"):
            assert await signer.key(f"{path}?key_id={FIRST}") == (200, FIRST)
    assert await signer.key("b.example/s2") == (404, None)
    assert await signer.db.fetchval("select count(*) from policy.dkim_key_seen") == 1


async def test_windows_open_and_close_by_the_clock(signer: Signing) -> None:
    signer.files.write("a.example/s1", rsa_pem())
    await signer.db.execute("insert into policy.dkim_domain (domain, selector) values ('*.example', 'never')")
    await signer.db.execute(
        "update policy.dkim_domain set not_before = now() + interval '1 s', not_after = now() + interval '2.5 s'"
        " where domain = 'a.example'"
    )
    status, body, _ = await signer.service.get("/dkim/a.example", Policy_Position=await head(signer.db))
    assert (status, "answer" in body, "valid_until" in body) == (404, False, True)
    assert await signer.key() == (200, FIRST)
    seen: list[int] = []
    async with asyncio.timeout(10):
        while seen != [404, 200, 404]:
            status, _, _ = await signer.service.get("/dkim/a.example")
            seen += [status] if seen[-1:] != [status] else []


async def test_a_key_is_for_tokens_with_the_scope_and_the_domain(signer: Signing, service_token) -> None:
    signer.files.write("a.example/s1", rsa_pem())
    signer.files.write("x.b.example/s1", rsa_pem())
    await service_token("lookups", "{lookup}", None)
    await service_token("of-a", "{dkim}", "{a.example}")
    await service_token("below-b", "{dkim}", "{*.b.example}")
    expected = {
        "lookups": {"a.example/s1": 403, "x.b.example/s1": 403},
        "of-a": {"a.example/s1": 200, "x.b.example/s1": 403},
        "below-b": {"a.example/s1": 403, "x.b.example/s1": 200, "b.example/s1": 403},
    }
    for name, answers in expected.items():
        for path, status in answers.items():
            bearer = f"Bearer {name}.{'0' * 20}"
            assert (await signer.service.get(f"/dkim/{path}", Authorization=bearer))[0] == status, (
                name,
                path,
            )
    sent = [seen for seen in signer.service.observations.seen if isinstance(seen, KeySent)]
    assert [(each.token, each.limited, each.found) for each in sent] == [
        ("of-a", True, "read"),
        ("below-b", True, "read"),
    ]


@pytest.fixture
def service_token(db: Connection):
    async def make(name: str, scopes: str, domains: str | None) -> None:
        await db.execute(
            "insert into policy.api_token (name, sha256, scopes, domains) values ($1, $2, $3::text::text[], $4::text::text[])",
            name,
            hash_secret("0" * 20),
            scopes,
            domains,
        )

    return make


async def test_a_key_comes_as_pem_to_who_asks_for_it_so(signer: Signing) -> None:
    signer.files.write("a.example/s1", rsa_pem())
    url = f"{signer.service.url}/dkim/a.example/s1"
    for accept, is_pem in {
        "application/x-pem-file": True,
        "application/x-pem-file, */*;q=0.1": True,
        "application/json, application/x-pem-file": False,
        "*/*": False,
        "": False,
    }.items():
        async with signer.service.session.get(url, headers={"Accept": accept}) as response:
            body = await response.read()
            assert body.startswith(b"-----BEGIN PRIVATE KEY-----") == is_pem, accept
            assert response.content_type == ("application/x-pem-file" if is_pem else "application/json")
            assert response.headers["Cache-Control"] == "no-store"
            assert "Policy-Position" in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "a.example/..%2F..%2Fetc",
        "../s1",
        "a.example/s1?key_id=x",
        "a.example/s1?key=x",
        "*.example/s1",
        "[192.0.2.1]/s1",
        "a.example/",
        "a%00.example/s1",
        "a.example/s%0A1",
        f"a.example/s1?key_id={'A' * 64}",
        f"a.example/s1?key_id={'a' * 64}%0A",
    ],
)
async def test_no_path_is_built_from_what_is_no_name(signer: Signing, path: str) -> None:
    url = URL(f"{signer.service.url}/dkim/{path}", encoded=True)
    async with signer.service.session.get(url) as response:
        assert response.status == 400, await response.text()


async def test_no_key_can_be_had_in_a_batch(signer: Signing) -> None:
    signer.files.write("a.example/s1", rsa_pem())
    _, body, _ = await signer.service.post("/batch", ["/dkim/a.example", "/dkim/a.example/s1"])
    assert [each["status"] for each in body] == [200, 404]
    assert "PRIVATE KEY" not in str(body)


async def test_where_a_key_lives_cannot_be_asked_for_over_http(signer: Signing) -> None:
    signer.files.write("a.example/s1", rsa_pem())
    assert await signer.key() == (200, FIRST)
    for path in ("/dkim_key a.example s1", "/dkim_key%20a.example%20s1", "/dkim/a.example%2Fs1"):
        status, body, _ = await signer.service.get(path)
        assert "places" not in str(body), path
        assert status in (400, 404), path


async def test_many_who_want_a_new_key_read_it_once(signer: Signing) -> None:
    signer.files.write("shared", rsa_pem())
    await signer.db.execute(
        "insert into policy.dkim_domain (domain, key_name) select 'd' || n || '.example', 'shared' from generate_series(1, 200) as n"
    )
    position = await head(signer.db)
    before = await signer.db.fetchval("select count(*) from policy.dkim_key_seen")
    answers = await asyncio.gather(
        *(
            signer.service.get(f"/dkim/d{number}.example", Policy_Position=position)
            for number in range(1, 201)
        )
    )
    assert {key_id(body["answer"]["signatures"]) for _, body, _ in answers} == {FIRST}
    assert await signer.db.fetchval("select count(*) from policy.dkim_key_seen") == before + 1
