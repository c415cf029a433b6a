"""Our own OpenAPI document, asked by schemathesis: whatever is drawn from it is answered as it says."""

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from tests.integration.conftest import TOKEN, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
async def test_nothing_that_the_document_allows_or_forbids_is_answered_otherwise_than_it_says(
    asked_only: Service, mode: GenerationMode
) -> None:
    await _ask(asked_only, mode, examples=25)
    assert not [seen for seen in asked_only.observations.seen if type(seen).__name__ == "RequestFailed"]


@pytest.mark.soak
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
async def test_nor_are_thousands(asked_only: Service, mode: GenerationMode) -> None:
    await _ask(asked_only, mode, examples=2_000)
    assert not [seen for seen in asked_only.observations.seen if type(seen).__name__ == "RequestFailed"]


async def test_the_document_is_valid_and_open_to_anyone(asked_only: Service) -> None:
    async with asked_only.session.get(
        asked_only.url + "/openapi.json", headers={"Authorization": "no"}
    ) as response:
        assert response.status == 200
        document = await response.json()
    schemathesis.openapi.from_dict(document).validate()


def is_gone(response: Response) -> bool:
    return response.status_code == 503 and response.json()["type"].endswith(":key-gone")


async def _ask(service: Service, mode: GenerationMode, *, examples: int) -> None:
    async with service.session.get(service.url + "/openapi.json") as response:
        document = await response.json()
    await asyncio.to_thread(_ask_everything, service.url, document, mode, examples)


def _ask_everything(url: str, document: dict[str, Any], mode: GenerationMode, examples: int) -> None:
    """Requests of a thread, because schemathesis blocks."""
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found

        @settings(
            max_examples=examples,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=found.ok().as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            response = case.call_and_validate(
                base_url=url,
                headers={"Authorization": f"Bearer {TOKEN}"},
                excluded_checks=[not_a_server_error],
            )
            # A key that is asked for by a fingerprint that nobody made is gone, and may be back in a moment.
            assert response.status_code < 500 or is_gone(response), response.json()

        ask()
