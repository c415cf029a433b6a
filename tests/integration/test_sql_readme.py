"""
The examples of sql/README.md, run in order as one session.
"""

import re
from pathlib import Path

import asyncpg
import pytest

README = Path(__file__).parents[2] / "sql" / "README.md"
BLOCK = re.compile(r"^```sql( error)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


async def test_the_examples_do_what_the_page_says(db):
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    assert len(blocks) > 10
    for marked, text in blocks:
        if not marked:
            await db.execute(text)
            continue
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await db.execute(text)
        assert f"-- {refusal.value.message}\n" in text
    assert await db.fetchval(
        "select body from policy.egress_pool_document where tag = 'egress_pool/*/vip'"
    ) == ('{"name": "vip", "entries": [{"name": "ip-3"}]}')
    assert await db.fetchval(
        "select string_agg(reason, '; ') from policy.revision where claimed_actor = 'alice'"
    ) == ("customer left, ticket 4711")


def test_the_page_is_one_page():
    assert len(README.read_text(encoding="utf-8").splitlines()) < 240
