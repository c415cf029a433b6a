"""deploy/example/init.lua: a whole policy for a node, on the rows of the example that `make run` imports."""

import json

import pytest

from policyd.operate.first_run import import_example, make_examples, make_keys
from policyd.shipped import example_root
from tests.integration.conftest import TOKEN, make_config, make_token, serving
from tests.lua.conftest import SCOPES
from tests.lua.faults import endpoint_before

EXAMPLE = example_root() / "init.lua"
MAIL = b"From: news@acme.example\r\nTo: x@gmail.com\r\nSubject: s\r\n\r\nhi\r\n"


@pytest.fixture
async def example(kumod, dsn, db, tmp_path, monkeypatch):
    """A node with the example's policy below KUMO_ROOT, and the login of its tenant."""
    await import_example(db, example_root())
    await make_examples(db, tmp_path / "credential.json")
    await make_token(db, scopes=SCOPES)
    make_keys(example_root(), tmp_path / "keys")
    etc = tmp_path / "opt/kumomta/etc/policyd"
    for directory in (etc, tmp_path / "var/spool/kumomta/policyd"):
        directory.mkdir(parents=True)
    (etc / "token").write_text(TOKEN + "\n")
    (etc / "store.key").write_bytes(bytes(range(64)))
    monkeypatch.setenv("KUMO_ROOT", str(tmp_path))
    async with serving(make_config(dsn, keys=tmp_path / "keys")) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        async with endpoint_before(service.url) as endpoint:
            policy = tmp_path / "init.lua"
            policy.write_text(EXAMPLE.read_text().replace("http://127.0.0.1:8085", endpoint.url))
            node = await kumod(policy, mx={"gmail.com": ("mx.google.com",)})
            await node.until((tmp_path / "var/spool/kumomta/policyd/store.db.shaping.json").exists)
            yield node, json.loads((tmp_path / "credential.json").read_text()), endpoint
            await node.stop()


def test_it_is_sixty_lines_at_most():
    assert len(EXAMPLE.read_text().splitlines()) <= 60


async def test_the_example_passes_validation_and_sends_signed_mail_through_an_outage(example):
    node, login, endpoint = example
    fine, said = await node.validate()
    assert fine, said
    assert [name for name, _ in node.process.configured].count("start_esmtp_listener") == 2
    for _ in range(2):
        session = node.session(meta={"tls_cipher": "x"})
        assert (await session.auth_plain(login["username"], login["password"])).code == 235
        reply = await session.mail("news@acme.example", "x@gmail.com", data=MAIL)
        assert reply.code == 250, reply
        assert [signature["domain"] for signature in reply.messages[0].signed_by] == ["acme.example"]
        await node.until(lambda: node.delivered, within=30)
        sent = node.delivered.pop()
        assert (sent.pool, sent.message.meta["tenant"]) == ("acme", "acme")
        await node.advance(1)
        await endpoint.be("refused")
        await node.restart()
