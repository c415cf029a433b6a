"""Shaping files into a real database."""

from typing import Any

import pytest

from policyd.errors import PolicyInvalid
from policyd.operate.importing import Counts
from policyd.store.pool import Connection
from tests.integration.test_importing import changed, document, run

SHAPING: dict[str, Any] = {
    "shaping": """
        ["default"]
        connection_limit = 10
        ["a.example".sources."s1"]
        smtp_port = 2525
        ["a.example".sources."nobody"]
        [provider."p"]
        match = [{ MXSuffix = ".p.example" }]
        provider_connection_limit = 5
        [[provider."p".automation]]
        regex = "busy"
        action = { SetConfig = { name = "max_message_rate", value = "1/m" } }
        trigger = { Threshold = "3/hr" }
        duration = "1h"
        """
}


async def test_shaping_becomes_one_document_and_a_second_import_changes_nothing(db: Connection) -> None:
    await run(db, sources='[source."s1"]')
    report = await run(db, **SHAPING)
    (note,) = report.notes
    assert str(note).endswith(
        "there is no egress source 'nobody': as long as there is none, this has no effect"
    )
    body = await document(db, "shaping", "shaping")
    assert body is not None
    assert [each["name"] for each in body["domains"]] == ["default", "a.example"]
    assert [each["name"] for each in body["domains"][1]["sources"]] == ["nobody", "s1"]
    assert body["providers"][0]["automation"] == [
        {
            "regex": ["busy"],
            "action": [{"SetConfig": {"name": "max_message_rate", "value": "1/m"}}],
            "trigger": {"Threshold": "3/hr"},
            "duration": "1h",
        }
    ]
    assert changed(await run(db, **SHAPING)) == {}


async def test_a_section_of_shaping_is_replaced_with_all_its_children_and_others_stay(db: Connection) -> None:
    await run(db, **SHAPING)
    report = await run(db, shaping="[provider.p]\nconnection_limit = 1")
    assert changed(report) == {
        "shaping_provider": Counts(updated=1),
        "shaping_provider_match": Counts(deleted=1),
        "shaping_provider_automation": Counts(deleted=1),
    }


async def test_providers_that_stay_are_named_because_the_order_decides(db: Connection) -> None:
    await run(db, **SHAPING)
    (note,) = (await run(db, shaping="[provider.q]\nconnection_limit = 1")).notes
    assert str(note).endswith(
        "other providers stay (p): where one of them matches too, position says which of them wins"
    )


async def test_what_the_catalogue_knows_of_shaping_is_said_with_file_and_key(db: Connection) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        await run(
            db,
            shaping="""
            ["a.example"]
            max_mesage_rate = "1/s"
            ["a.example".sources."s"]
            smtp_port = 0
            [provider.p]
            provider_connection_limit = 0
            [provider.p.sources.s]
            provider_source_selection_rate = 5
            [[provider.p.automation]]
            regex = "a(b"
            action = [{ SetConfig = { name = "max_mesage_rate", value = 1 } }, "Suspnd"]
            duration = -1
            trigger = { Threshold = "0/s" }
            """,
        )
    told = [f"{problem.where}: {problem.sentence}" for problem in refused.value.problems]
    for place, sentence in (
        ('shaping.toml:3: "a.example".max_mesage_rate', "did you mean max_message_rate?"),
        ('shaping.toml:5: "a.example".sources.s.smtp_port', "allowed is an integer from 1"),
        ("shaping.toml:7: provider.p.provider_connection_limit", "allowed is a limit of at least 1"),
        ("shaping.toml:9: provider.p.sources.s.provider_source_selection_rate", "allowed is a rate"),
        ("shaping.toml:11: provider.p.automation.1.regex", "no engine takes that"),
        ("shaping.toml:12: provider.p.automation.1.action", "did you mean max_message_rate?"),
        ("shaping.toml:12: provider.p.automation.1.action", 'action is "Suspnd"; allowed is Suspend,'),
        ("shaping.toml:13: provider.p.automation.1.duration", "allowed is at least one second"),
        ("shaping.toml:14: provider.p.automation.1.trigger", "allowed is a rate above zero"),
    ):
        assert [each for each in told if each.startswith(place) and sentence in each], (place, told)
    assert len(told) == 9, told
