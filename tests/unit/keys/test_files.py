"""A directory of keys in KumoMTA's layout, as tidy and as untidy as directories are."""

import os
from pathlib import Path

import pytest

from policyd.config import KeyRootConfig, VaultConfig
from policyd.errors import ConfigError, KeyInvalid, SecretsUnavailable
from policyd.keys import KeyName, key_of, open_keys, read_pem
from tests.unit.keys.pems import damaged_rsa_pem, ed25519_pem, rsa_pem

NAME = key_of("example.com", "s1")


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "keys/example.com").mkdir(parents=True)
    return tmp_path / "keys"


@pytest.fixture
async def keys(directory):
    async with open_keys({"default": KeyRootConfig(dir=directory)}, VaultConfig(), lambda _: None) as keys:
        yield keys


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


async def refusal(keys, name: KeyName = NAME, **kwargs) -> str:
    with pytest.raises(KeyInvalid) as caught:
        await keys.read(name, **kwargs)
    assert str(name) in str(caught.value)
    return str(caught.value)


async def test_a_key_is_read_from_its_domain_and_selector(directory, keys):
    write(directory / "example.com/s1.key", rsa_pem())
    assert await keys.read(NAME) == read_pem(rsa_pem())
    assert await keys.read(NAME, algorithm="rsa-sha256") == read_pem(rsa_pem())


async def test_a_key_of_another_algorithm_than_its_row_says_is_refused(directory, keys):
    write(directory / "example.com/s1.key", ed25519_pem())
    assert "is ed25519-sha256, and its row says rsa-sha256" in await refusal(keys, algorithm="rsa-sha256")


async def test_a_key_replaced_in_place_is_another_key_at_once(directory, keys):
    path = write(directory / "example.com/s1.key", rsa_pem())
    before = await keys.read(NAME)
    write(path, rsa_pem(number=1))
    after = await keys.read(NAME)
    assert (before.key_id, after.key_id) == (read_pem(rsa_pem()).key_id, read_pem(rsa_pem(number=1)).key_id)


async def test_a_key_that_was_replaced_by_a_damaged_one_with_its_key_id_is_noticed(directory, keys):
    path = write(directory / "example.com/s1.key", rsa_pem())
    await keys.read(NAME)
    write(path, damaged_rsa_pem())
    assert "is damaged" in await refusal(keys)


@pytest.mark.parametrize(
    "name", [NAME, key_of("other.example", "s1"), KeyName(root="default", name="x" * 200)]
)
async def test_a_key_that_is_not_there_is_none(keys, name):
    assert await keys.read(name) is None


async def test_a_directory_that_is_not_there_is_not_a_key_that_is_not_there(directory, keys):
    directory.rename(directory.with_name("unmounted"))
    with pytest.raises(SecretsUnavailable, match="No such file"):
        await keys.read(NAME)


async def test_a_root_that_nobody_configured_is_named(keys):
    said = await refusal(keys, KeyName(root="acme", name="k"))
    assert "there is no key root acme" in said


async def test_links_may_share_a_key_inside_the_directory(directory, keys):
    write(directory / "shared.key", rsa_pem())
    (directory / "example.com/s1.key").symlink_to("../shared.key")
    assert (await keys.read(NAME)).key_id == read_pem(rsa_pem()).key_id


@pytest.mark.parametrize("target", ["../../outside.key", "/etc/hostname"])
async def test_links_must_not_lead_out_of_the_directory(directory, keys, target):
    write(directory.parent / "outside.key", rsa_pem())
    (directory / "example.com/s1.key").symlink_to(target)
    assert "leads out of" in await refusal(keys)


async def test_a_directory_that_is_a_link_out_leads_out_too(directory, keys, tmp_path):
    (tmp_path / "outside").mkdir()
    write(tmp_path / "outside/s1.key", rsa_pem())
    (directory / "example.org").symlink_to(tmp_path / "outside")
    assert "leads out of" in await refusal(keys, key_of("example.org", "s1"))


async def test_what_is_no_file_is_not_waited_for(directory, keys):
    os.mkfifo(directory / "example.com/s1.key", 0o600)
    assert "is not a regular file" in await refusal(keys)


async def test_a_directory_in_a_files_place_is_refused(directory, keys):
    (directory / "example.com/s1.key").mkdir()
    assert "is not a regular file" in await refusal(keys)


async def test_a_link_to_itself_ends(directory, keys):
    (directory / "example.com/s1.key").symlink_to("s1.key")
    assert "leads to itself" in await refusal(keys)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602])
async def test_a_key_that_everybody_may_read_is_refused_with_the_way_out(directory, keys, mode):
    write(directory / "example.com/s1.key", rsa_pem(), mode)
    with pytest.raises(KeyInvalid, match="everybody on this machine") as caught:
        await keys.read(NAME)
    assert "chmod o-rwx" in (caught.value.hint or "")


async def test_a_group_may_read_keys(directory, keys):
    write(directory / "example.com/s1.key", rsa_pem(), 0o640)
    assert await keys.read(NAME) is not None


async def test_a_huge_file_is_not_read(directory, keys):
    write(directory / "example.com/s1.key", b"-" * 100_000)
    assert "larger than" in await refusal(keys)


async def test_an_unreadable_key_is_named_and_not_quoted(directory, keys):
    write(directory / "example.com/s1.key", rsa_pem()[:600])
    said = await refusal(keys)
    assert "default:example.com/s1" in said
    assert "MII" not in said


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        (KeyRootConfig(mount="kv"), "keys.x.mount means nothing"),
        (KeyRootConfig(suffix="/../x"), "keys.x.suffix"),
        (KeyRootConfig(kind="vault", suffix=".pem"), "keys.x.suffix means nothing"),
        (KeyRootConfig(kind="vault", mount="../sys"), "keys.x.mount"),
        (KeyRootConfig(kind="vault", prefix="a//b"), "keys.x.prefix"),
        (KeyRootConfig(kind="vault"), "vault.login = 'token' needs"),
    ],
)
async def test_a_root_that_cannot_work_is_refused_at_the_start(root, sentence):
    with pytest.raises(ConfigError) as caught:
        async with open_keys({"x": root}, VaultConfig(), lambda _: None):
            pass
    assert sentence in str(caught.value)
