"""Files of KumoMTA's dkim_sign, imported: policyd.dkim_sign makes the signers that the stock helper made of them."""

from dataclasses import replace
from typing import Any

from policyd.config import KeyRootConfig
from policyd.operate.importing import import_rows
from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import transfer
from tests.contract import recorded
from tests.contract.questions import expected
from tests.contract.reach import within_reach
from tests.contract.reference.dkim import DIRECTORY
from tests.contract.toml_writer import to_toml
from tests.integration.conftest import make_config, make_token, serving
from tests.integration.signing import KeyFiles
from tests.lua.faults import endpoint_before
from tests.lua.kumo_sim.messages import Message
from tests.lua.signers import FIRST, MODERN
from tests.lua.sites import Site

POLICY = """
local signer = require('policyd.dkim_sign'):setup()
kumo.on('sign', function(msg) signer(msg) end)
"""
ALGORITHMS = {"rsa_sha256_signer": "sha256", "ed25519_signer": "ed25519"}
EMPTY = """
begin;
set local policy.allow_mass_change = 'the next set';
delete from policy.dkim_additional_signature; delete from policy.dkim_signature; delete from policy.dkim_domain;
commit;
"""


async def test_recorded_signers_are_made(kumod, dsn, db, token_file, tmp_path):
    await make_token(db)
    roots = {f"set{name}": KeyFiles(tmp_path / name) for name in recorded.SETS}
    config = replace(
        make_config(dsn), keys={root: KeyRootConfig(dir=files.directory) for root, files in roots.items()}
    )
    for name in recorded.SETS:
        write_keys(name, roots[f"set{name}"])
    async with serving(config) as service, endpoint_before(service.url) as endpoint:
        site = Site(kumod, endpoint, db, token_file, tmp_path / "store.db")
        node = await site.node(POLICY)
        compared = 0
        for name in recorded.SETS:
            await imported(site, node, name)
            for each in questions(name):
                made = await signers(node, each.question["domain"])
                if made != (each.result or []):
                    files = recorded.files(name)
                    in_reach = within_reach(each.question, files)
                    assert in_reach != files, each
                    assert {"signers": made} == expected(each.question, in_reach, "stock"), each
                compared += 1
        assert compared > 100


def questions(name):
    """Those of a set, each once."""
    return {each.question["domain"]: each for each in recorded.answers(name, "dkim")}.values()


def write_keys(name, files):
    """A key of the recorded algorithm at every place that a question of the set may lead to."""
    wanted = {}
    for each in questions(name):
        policy = recorded.files(name)
        for policy_or_repaired in (policy, within_reach(each.question, policy)):
            answer: Any = expected(each.question, policy_or_repaired, "stock")
            for signer in answer["signers"]:
                wanted[signer["p"]["key"].removeprefix(f"{DIRECTORY}/").removesuffix(".key")] = signer["alg"]
    for place, algorithm in wanted.items():
        files.write(place, FIRST if algorithm == "sha256" else MODERN)


async def imported(site, node, name):
    await site.db.execute(EMPTY)
    files = [read_helper_file("dkim.toml", to_toml(file), "dkim") for file in recorded.files(name)["dkim"]]
    await import_rows(site.db, transfer(files), dry_run=False, actor=None, reason="parity")
    await site.change(f"update policy.dkim_settings set key_root = 'set{name}'", node)


async def signers(node, domain):
    """What has signed a message from that domain, as the recording shows it."""
    message = Message(
        node.clock, f"x@{domain}", ["y@dest.example"], f"From: x@{domain}\r\n\r\nhi\r\n".encode()
    )
    await node.call("sign", message)
    return [signer(node, each) for each in message.signed_by]


def signer(node, made):
    ours = ("maker", "key_bytes", "key", "ttl")
    plain = {name: value for name, value in made.items() if name not in ours}
    domain, selector, _ = made["key"]["event_args"]
    return {
        "alg": ALGORITHMS[made["maker"]],
        "p": {**plain, "key": f"{DIRECTORY}/{domain}/{selector}.key"},
    }
