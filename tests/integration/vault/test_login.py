"""Who policyd is at Vault: offered once, kept short, replaced when it changes."""

import time
from dataclasses import replace

import pytest
from aiohttp import web

from policyd.observe.events import VaultCredentialRefused, VaultTokenGranted
from policyd.observe.metrics import Metrics, State
from tests.integration.conftest import Observations
from tests.integration.vault.double import ROOT
from tests.integration.vault.faults import NAME, always, on, refusal


async def test_a_login_that_may_have_used_up_its_secret_id_is_not_sent_twice(here, said):
    config = await here.vault.approle()

    async def drop(request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.close()

    here.double.fault = on("/login", drop)
    async with here.vault.keys(config, said) as keys:
        await refusal(keys)
        assert here.count("/login") == 1


async def test_a_locked_out_role_is_left_alone_for_a_while(here, said):
    config = await here.vault.approle()
    for role in here.double.roles.values():
        role.bad = 5
    async with here.vault.keys(config, said) as keys:
        for _ in range(20):
            assert "not again for 30 s, or until it changes" in await refusal(keys)
    assert here.count("/login") == 1


async def test_an_unsuccessful_login_does_not_lock_the_role(here, said):
    config = replace(await here.vault.approle(), secret_id="canary-wrong")
    async with here.vault.keys(config, said) as keys:
        for _ in range(20):
            await refusal(keys)
        await said.wait_for(lambda each: isinstance(each, VaultCredentialRefused))
    assert [role.bad for role in here.double.roles.values()] == [1]


async def test_a_token_that_works_nowhere_is_not_asked_for_again_and_again(here, said):
    config = await here.vault.approle()
    refused = always(403, {"errors": ["permission denied"]})

    async def bound_elsewhere(request: web.BaseRequest) -> web.StreamResponse | None:
        return None if request.path.endswith("/login") else await refused(request)

    here.double.fault = bound_elsewhere
    async with here.vault.keys(config, said) as keys:
        for _ in range(10):
            await refusal(keys)
        assert "bound to other addresses" in await refusal(keys)
    assert here.count("/login") <= 2


async def test_a_second_factor_is_not_taken_for_a_token(here, said):
    config = await here.vault.approle()
    body = {"auth": {"client_token": "", "lease_duration": 0, "mfa_requirement": {}}}
    here.double.fault = on("/login", always(200, body))
    async with here.vault.keys(config, said) as keys:
        for _ in range(5):
            assert "without a token" in await refusal(keys)
    assert here.count("/login") == 1


async def test_kubernetes_logs_in_with_the_pods_token_and_again_when_that_rotates(here, said, tmp_path):
    await here.vault.policy()
    here.double.policies["keys"] = here.double.policies.pop(f"keys-{here.vault.mark}")
    here.double.pods["canary.jwt.2"] = "policyd"
    file = tmp_path / "jwt"
    file.write_text("canary.jwt.1\n")
    file.chmod(0o644)
    config = here.vault.config(
        token="", login="kubernetes", kubernetes_role="policyd", kubernetes_jwt_file=file
    )
    async with here.vault.keys(config, said) as keys:
        await refusal(keys)
        file.write_text("canary.jwt.2\n")
        await said.wait_for(lambda each: isinstance(each, VaultTokenGranted))
        assert await keys.read(NAME) is not None


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        (ROOT, 0o644, "everybody on this machine can read it"),
        ("", 0o600, "is nothing that could be sent"),
        ("canary\nX-Evil: 1", 0o600, "is nothing that could be sent"),
    ],
)
async def test_a_token_file_that_is_not_fit_is_not_used(here, tmp_path, content, mode, sentence):
    said = Observations()
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)
    async with here.vault.keys(here.vault.config(token="", token_file=file), said) as keys:
        assert sentence in await refusal(keys)
    assert here.double.asked == []


async def test_the_tokens_expiry_is_a_metric(here, said):
    metrics = Metrics(
        version="1",
        tallies={},
        bounds=(),
        clock=time.time,
        state=lambda: State(revision=0, current=True, cache_bytes=0, cache_entries=0),
    )
    name = b"policyd_vault_token_expiry_timestamp_seconds"
    assert name not in metrics.render()
    config = here.vault.config(token=await here.vault.token(ttl="1h"))
    async with here.vault.keys(config, metrics) as keys:
        await keys.read(NAME)
    [line] = [line for line in metrics.render().splitlines() if line.startswith(name)]
    assert abs(float(line.split()[1]) - time.time() - 3600) < 5
    assert b'policyd_backend_up{backend="vault"} 1.0' in metrics.render()
