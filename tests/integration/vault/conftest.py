"""A Vault with one key in it, what policyd says of it, and ways to break it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.conftest import Observations
from tests.integration.vault.faults import PATH, Arranged
from tests.integration.vault.servers import doubled
from tests.unit.keys.pems import rsa_pem


@pytest.fixture
async def here() -> AsyncIterator[Arranged]:
    async with doubled() as (vault, double):
        await vault.write(PATH, rsa_pem())
        double.asked.clear()
        yield Arranged(vault, double)


@pytest.fixture
def said() -> Iterator[Observations]:
    observations = Observations()
    yield observations
    assert "canary" not in repr(observations.seen)
