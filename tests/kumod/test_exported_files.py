"""KumoMTA's own helpers, in a real kumod, answer from exported files what policyd answers from the database."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from policyd.config import KeyRootConfig
from policyd.operate.exporting import read_policy, write_directory
from policyd.operate.importing import import_rows
from policyd.store.pool import Connection
from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import transfer
from tests.contract.questions import path
from tests.integration.test_parity import answer
from tests.kumod.process import PATIENCE, command

SHARE = Path(os.environ.get("KUMO_SHARE", "/opt/kumomta/share"))
EXAMPLE = Path(__file__).parents[2] / "deploy/example"
pytestmark = pytest.mark.skipif(
    not (SHARE / "policy-extras").is_dir(), reason="KumoMTA's own helpers are not installed"
)
POLICY = """
package.path = '%(share)s/?.lua;' .. package.path
local kumo = require 'kumo'
local dir = '%(dir)s/'
local sources = require 'policy-extras.sources'
sources:setup { dir .. 'sources.toml' }
local listener_domains = require('policy-extras.listener_domains'):setup { dir .. 'listener_domains.toml' }
local dkim = require('policy-extras.dkim_sign'):setup { dir .. 'dkim_data.toml' }
local queue = require('policy-extras.queue'):setup { dir .. 'queues.toml' }
local nobody = { get_meta = function() end }
kumo.on('main', function(asked)
  local shaping = kumo.shaping.load({ dir .. 'shaping.toml' }, { local_load = 'Error' })
  assert(#shaping:get_errors() == 0)
  local answers = {}
  for i, each in ipairs(kumo.json_load(asked)) do
    if each.kind == 'queue' then
      answers[i] = queue:resolve_config(each.domain, each.tenant, each.campaign)
    elseif each.kind == 'listener_domain' then
      answers[i] = { relays = listener_domains(each.domain, each.listener, nobody) ~= nil }
    else
      answers[i] = sources.CONFIGURED.get_data()
    end
  end
  local out = io.open(dir .. 'answers.json', 'w')
  out:write(kumo.json_encode(answers))
  out:close()
end)
"""


async def ask(directory: Path, questions: list[dict[str, Any]]) -> list[Any]:
    """What the stock helpers answer from the files in *directory*."""
    (directory / "policy.lua").write_text(POLICY % {"share": SHARE, "dir": directory})
    (directory / "asked.json").write_text(json.dumps(questions))
    process = await asyncio.create_subprocess_exec(
        *command("--policy", directory / "policy.lua", "--script", "--", directory / "asked.json"),
        env={**os.environ, "KUMO_NODE_ID_PATH": str(directory / "nodeid")},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    answers: list[Any] = json.loads((directory / "answers.json").read_text())
    return answers


async def test_exported_files_are_what_kumomtas_own_helpers_take(db: Connection, tmp_path: Path) -> None:
    files = [read_helper_file(each.name, each.read_text()) for each in sorted(EXAMPLE.glob("*.toml"))]
    await import_rows(db, transfer(files), dry_run=False, actor=None, reason="example")
    await db.execute(
        "update policy.egress_source set socks5_proxy_server = '10.0.0.9:1080', socks5_proxy_source_address = '10.0.0.8',"
        """ socks5_proxy_username = 'me', socks5_proxy_password = '{"secret": "x"}' where name = 'tx-1'"""
    )
    reading = await read_policy(db, {"default": KeyRootConfig()})
    write_directory(tmp_path / "policy", reading.exported.files, force=False)
    tenants = [None, *[row["name"] for row in await db.fetch("select name from policy.tenant order by name")]]
    domains = ["gmail.com", "yahoo.com", "x.edu", "edu", "nowhere.example", "corp.initech.example"]
    questions: list[dict[str, Any]] = [
        {"kind": "queue", "domain": domain, "tenant": tenant, "campaign": campaign}
        for domain in domains
        for tenant in tenants
        for campaign in (None, "spring-sale", "newsletter")
    ]
    names = [
        "example.com",
        "x.acme.example",
        "a.b.acme.example",
        "friend.example",
        "alerts.example.com",
        "nobody.test",
    ]
    questions += [
        {"kind": "listener_domain", "domain": name, "listener": listener}
        for name in names
        for listener in ("10.20.0.10:587", "10.0.0.1:25")
    ]
    questions.append({"kind": "sources"})
    *told, sources = await ask(tmp_path / "policy", questions)
    for question, stock in zip(questions, told, strict=False):
        ours = await answer(db, path(question))
        if question["kind"] == "listener_domain":
            assert stock == {"relays": ours is not None}, question
        else:
            routing = {"routing_domain": ours["routing_domain"]} if "routing_domain" in ours else {}
            assert stock == {**ours["options"], **routing}, question
    assert {name: {**said, "name": name} for name, said in sources["sources"].items()}.keys() == {
        row["name"]
        for row in await db.fetch("select name from policy.egress_source where name <> 'unspecified'")
    }
    assert sources["sources"]["tx-1"]["socks5_proxy_password"] == {
        "event_name": "policyd.secret",
        "event_args": ["x"],
    }
