"""What policyd makes of a Vault that works: the double, and a real one where `bao` or `vault` is installed."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from policyd.errors import KeyInvalid, SecretsUnavailable
from policyd.keys import KeyName, key_of, read_pem
from policyd.observe.events import (
    BackendAnswered,
    BackendReached,
    VaultCredentialRefused,
    VaultTokenGranted,
)
from tests.integration.conftest import Observations
from tests.integration.vault.double import ROOT
from tests.integration.vault.servers import REAL, Vault, VaultUnusable, arranged, doubled, real_server
from tests.unit.keys.pems import damaged_rsa_pem, ed25519_pem, rsa_pem

NAME = key_of("example.com", "s1")
PATH = "example.com/s1"


@pytest.fixture(scope="module")
def installed() -> Iterator[Vault | None]:
    """The real server, if there is one to run."""
    if REAL is None:
        yield None
        return
    with real_server(REAL) as vault:
        yield vault


@pytest.fixture(params=["double", "real"])
async def vault(request: pytest.FixtureRequest, installed: Vault | None) -> AsyncIterator[Vault]:
    if request.param == "double":
        async with doubled() as (vault, _):
            yield vault
    elif installed is None:
        pytest.skip("neither bao nor vault is on PATH")
    else:
        async with arranged(installed) as vault:
            yield vault


def granted(observation: object) -> bool:
    return isinstance(observation, VaultTokenGranted)


async def grants(said: Observations, count: int) -> list[VaultTokenGranted]:
    """The first *count* tokens, or renewals of one, as soon as there are so many."""
    await said.wait_for(lambda _: sum(map(granted, said.seen)) >= count)
    return [each for each in said.seen if isinstance(each, VaultTokenGranted)]


async def test_a_key_in_version_2_is_read(vault, said):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(vault.config(), said) as keys:
        assert await keys.read(NAME, algorithm="rsa-sha256") == read_pem(rsa_pem())
    assert BackendReached(backend="vault") in said.seen
    operations = {each.operation for each in said.seen if isinstance(each, BackendAnswered)}
    assert operations == {"login", "mount", "read"}


async def test_a_key_in_version_1_is_read(vault, said):
    await vault.call("POST", f"kv1/dkim-{vault.mark}/{PATH}", {"key": ed25519_pem().decode()})
    async with vault.keys(vault.config(), said, mount="kv1") as keys:
        assert await keys.read(NAME) == read_pem(ed25519_pem())
        assert await keys.read(key_of("example.com", "s2")) is None


async def test_slashes_around_mount_and_prefix_do_not_matter(vault, said):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(vault.config(), said, mount="/secret/", prefix=f"dkim-{vault.mark}/") as keys:
        assert await keys.read(NAME) is not None


async def test_a_key_ref_reads_any_name_below_the_prefix_and_any_field(vault, said):
    await vault.write("shared/2026a", rsa_pem(), field="private")
    async with vault.keys(vault.config(), said, key_field="private") as keys:
        assert await keys.read(KeyName(root="default", name="shared/2026a")) is not None


async def test_a_key_replaced_outside_is_another_key_at_the_next_read(vault, said):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(vault.config(), said) as keys:
        before = await keys.read(NAME)
        await vault.write(PATH, rsa_pem(number=1))
        after = await keys.read(NAME)
    assert (before.key_id, after.key_id) == (read_pem(rsa_pem()).key_id, read_pem(rsa_pem(number=1)).key_id)


@pytest.mark.parametrize("name", ["example.com/s2", "example.com", "nobody.example/s1"])
async def test_a_key_that_is_not_there_is_none(vault, said, name):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(vault.config(), said) as keys:
        assert await keys.read(KeyName(root="default", name=name)) is None


async def test_a_deleted_version_is_none_until_another_is_written(vault, said):
    await vault.write(PATH, rsa_pem())
    await vault.call("DELETE", f"secret/data/dkim-{vault.mark}/{PATH}")
    async with vault.keys(vault.config(), said) as keys:
        assert await keys.read(NAME) is None
        await vault.write(PATH, rsa_pem())
        assert await keys.read(NAME) is not None


async def test_a_destroyed_version_is_none(vault, said):
    await vault.write(PATH, rsa_pem())
    await vault.call("PUT", f"secret/destroy/dkim-{vault.mark}/{PATH}", {"versions": [1]})
    async with vault.keys(vault.config(), said) as keys:
        assert await keys.read(NAME) is None


async def test_a_key_with_a_deletion_time_to_come_is_alive(vault, said):
    await vault.call("POST", f"secret/metadata/dkim-{vault.mark}/{PATH}", {"delete_version_after": "1h"})
    await vault.write(PATH, rsa_pem())
    async with vault.keys(vault.config(), said) as keys:
        assert await keys.read(NAME) is not None


@pytest.mark.parametrize(
    ("pem", "sentence"),
    [
        (b"canary: not a key", "cannot be read"),
        (rsa_pem()[:500], "cannot be read"),
        (rsa_pem(1024), "1024 bits"),
        (damaged_rsa_pem(), "is damaged"),
    ],
)
async def test_a_key_that_cannot_be_used_is_named_and_not_quoted(vault, said, pem, sentence):
    await vault.write(PATH, pem)
    async with vault.keys(vault.config(), said) as keys:
        with pytest.raises(KeyInvalid) as caught:
            await keys.read(NAME)
    assert sentence in str(caught.value)
    assert "default:example.com/s1" in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_a_key_of_the_wrong_algorithm_is_refused(vault, said):
    await vault.write(PATH, ed25519_pem())
    async with vault.keys(vault.config(), said) as keys:
        with pytest.raises(KeyInvalid, match="is ed25519-sha256, and its row says rsa-sha256"):
            await keys.read(NAME, algorithm="rsa-sha256")


async def test_a_secret_without_the_field_is_no_missing_key(vault, said):
    await vault.write(PATH, rsa_pem(), field="other")
    async with vault.keys(vault.config(), said) as keys:
        with pytest.raises(KeyInvalid, match="has no field key in Vault"):
            await keys.read(NAME)


@pytest.mark.parametrize("mount", ["nowhere", "sys"])
async def test_a_mount_that_is_not_there_is_no_missing_key(vault, said, mount):
    config = vault.config(token=await vault.token())
    for each in (vault.config(), config):
        async with vault.keys(each, said, mount=mount) as keys:
            with pytest.raises(SecretsUnavailable):
                await keys.read(NAME)


async def test_a_wrong_version_in_the_configuration_does_not_hide_keys(vault, said):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(vault.config(), said, kv_version=1) as keys:
        assert await keys.read(NAME) is not None


async def test_what_the_token_may_not_read_is_said_and_the_token_is_kept(vault, said):
    await vault.write(PATH, rsa_pem())
    config = await vault.approle()
    async with (
        vault.keys(config, said) as keys,
        vault.keys(config, said, prefix="elsewhere") as strange,
    ):
        for _ in range(3):
            with pytest.raises(
                SecretsUnavailable, match=r"does not let policyd read elsewhere/example\.com/s1"
            ):
                await strange.read(NAME)
        assert await keys.read(NAME) is not None
    assert sum(map(granted, said.seen)) == 2


@pytest.mark.parametrize("settings", [{}, {"no_default_policy": True}])
async def test_a_token_with_few_rights_reads_keys(vault, said, settings):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(vault.config(token=await vault.token(**settings)), said) as keys:
        assert await keys.read(NAME) is not None


async def test_a_token_that_never_ends_has_no_expiry(vault, said):
    async with vault.keys(vault.config(token=ROOT), said):
        assert await said.wait_for(granted) == VaultTokenGranted(expires_at=None)


async def test_a_revoked_token_of_a_login_is_replaced_once_and_the_read_succeeds(vault, said):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(await vault.approle(), said) as keys:
        assert await keys.read(NAME) is not None
        await _revoke(vault, keys)
        assert await asyncio.gather(*(keys.read(NAME) for _ in range(8))) == [read_pem(rsa_pem())] * 8
    assert sum(map(granted, said.seen)) == 2


async def test_a_revoked_token_from_a_file_is_not_used_until_the_file_changes(vault, said, tmp_path):
    await vault.write(PATH, rsa_pem())
    file = tmp_path / "token"
    token = await vault.token()
    _write(file, token)
    async with vault.keys(vault.config(token="", token_file=file), said) as keys:
        assert await keys.read(NAME) is not None
        await vault.call("POST", "auth/token/revoke", {"token": token})
        for _ in range(3):
            with pytest.raises(SecretsUnavailable) as caught:
                await keys.read(NAME)
            assert token not in str(caught.value)
        _write(file, await vault.token())
        await grants(said, 2)
        assert await keys.read(NAME) is not None
    refused = [each for each in said.seen if isinstance(each, VaultCredentialRefused)]
    assert [(each.login, each.retry_in) for each in refused] == [("token", 30.0)]


async def test_a_bad_secret_id_is_offered_once_until_it_changes(vault, said, tmp_path):
    await vault.write(PATH, rsa_pem())
    file = tmp_path / "secret_id"
    _write(file, "canary-wrong")
    config = replace(await vault.approle(), secret_id="", secret_id_file=file)
    async with vault.keys(config, said) as keys:
        for _ in range(8):
            with pytest.raises(SecretsUnavailable, match="not again until it changes"):
                await keys.read(NAME)
        _write(file, await vault.secret_id())
        await said.wait_for(granted)
        assert await keys.read(NAME) is not None
    refused = [each for each in said.seen if isinstance(each, VaultCredentialRefused)]
    assert [each.retry_in for each in refused] == [None]


async def test_a_short_token_is_renewed_and_replaced_at_its_longest_life_without_a_failed_read(vault, said):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(await vault.approle(token_ttl="2s", token_max_ttl="4s"), said) as keys:
        reading = asyncio.ensure_future(_read_until(keys, lambda: sum(map(granted, said.seen)) >= 5))
        ends = [each.expires_at or math.inf for each in await grants(said, 5)]
        await reading
    assert ends[-1] - ends[0] > 2
    assert not any(isinstance(each, VaultCredentialRefused) for each in said.seen)


async def test_a_token_that_cannot_be_renewed_is_replaced_before_it_ends(vault, said):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(await vault.approle(token_ttl="1s", token_max_ttl="1s"), said) as keys:
        await _read_until(keys, lambda: sum(map(granted, said.seen)) >= 4)


async def test_a_namespace_has_keys_of_its_own(vault, said):
    with contextlib.suppress(VaultUnusable):  # it is there already
        await vault.call("PUT", "sys/namespaces/team1", {})
        kv = {"type": "kv", "options": {"version": "1"}}
        await vault.call("POST", "sys/mounts/team-kv", kv, namespace="team1")
    key = {"key": rsa_pem().decode()}
    await vault.call("POST", f"team-kv/dkim-{vault.mark}/{PATH}", key, namespace="team1")
    async with vault.keys(vault.config(namespace="team1"), said, mount="team-kv") as keys:
        assert await keys.read(NAME) is not None
    async with vault.keys(vault.config(), said, mount="team1/team-kv", kv_version=1) as keys:
        assert await keys.read(NAME) is not None


async def test_a_namespace_that_is_not_there_is_no_missing_key(vault, said):
    async with vault.keys(vault.config(namespace="nobody"), said) as keys:
        with pytest.raises(SecretsUnavailable, match="namespace not found"):
            await keys.read(NAME)


async def test_a_sealed_vault_is_lost_and_comes_back(vault, said):
    await vault.write(PATH, rsa_pem())
    async with vault.keys(vault.config(), said) as keys:
        assert await keys.read(NAME) is not None
        await vault.call("PUT", "sys/seal", {})
        with pytest.raises(SecretsUnavailable, match="sealed"):
            await keys.read(NAME)
        before = len(said.seen)
        await vault.call("PUT", "sys/unseal", {"key": vault.unseal_key})
        # Nobody asks for a key meanwhile: policyd itself looks whether Vault is back.
        await said.wait_for(lambda each: each == BackendReached(backend="vault"), after=before)
        assert await keys.read(NAME) is not None


async def _read_until(keys, done) -> None:
    while not done():
        assert await keys.read(NAME) is not None
        await asyncio.sleep(0.01)


async def _revoke(vault: Vault, keys) -> None:
    token = keys._session._grant.token
    await vault.call("POST", "auth/token/revoke", {"token": token})


def _write(file, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text + "\n")
