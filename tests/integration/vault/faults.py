"""What can be wrong with the double, and with what policyd says of it."""

from dataclasses import dataclass

import pytest
from aiohttp import web

from policyd.errors import SecretsUnavailable
from policyd.keys import key_of
from policyd.observe.events import BackendReached
from tests.integration.vault.double import Fault, VaultDouble
from tests.integration.vault.servers import Vault

NAME = key_of("example.com", "s1")
PATH = "example.com/s1"
REACHED = BackendReached(backend="vault")


@dataclass
class Arranged:
    """The double with one key in it."""

    vault: Vault
    double: VaultDouble

    def count(self, end: str) -> int:
        """How often something was asked that ends so."""
        return sum(asked.endswith(end) for asked in self.double.asked)


async def refusal(keys, name=NAME) -> str:
    """Why a key cannot be known just now, with nothing secret anywhere in the error."""
    with pytest.raises(SecretsUnavailable) as caught:
        await keys.read(name)
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in repr(error) + str(error) + repr(vars(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return str(caught.value)


def always(status: int, body: object = None, text: str | None = None, **headers: str) -> Fault:
    """A fault that answers everything like this."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if text is not None:
            return web.Response(status=status, text=text, headers=given)
        return web.json_response(body, status=status, headers=given)

    return answer


def on(part: str, fault: Fault) -> Fault:
    """*fault*, for paths with *part* in them only."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse | None:
        return await fault(request) if part in request.path else None

    return answer
