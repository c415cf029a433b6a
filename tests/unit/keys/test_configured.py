"""Key roots and Vault in the configuration."""

from pathlib import Path

import pytest

from policyd.config import Config, KeyRootConfig, VaultConfig
from policyd.config_loader import load
from policyd.errors import ConfigError

CANARY = "hvs.canary-7f3a"


@pytest.fixture
def configured(tmp_path):
    """The configuration of a file's text and an environment."""

    def configure(text: str = "", mode: int = 0o600, **environ: str) -> Config:
        file = tmp_path / "policyd.toml"
        file.write_text(text)
        file.chmod(mode)
        return load(environ={"STATE_DIRECTORY": "/s"} | environ, file=file).config

    return configure


def test_without_configuration_keys_are_where_kumomta_looks_for_them(configured):
    assert configured().keys == {"default": KeyRootConfig(kind="files", dir=Path("/opt/kumomta/etc/dkim"))}


def test_there_may_be_several_key_roots(configured):
    config = configured(
        """
        [keys.default]
        dir = "/etc/dkim"
        [keys.acme-2]
        kind = "vault"
        mount = "team1/kv"
        prefix = ""
        kv_version = 1
        """,
        POLICYD_KEYS_DEFAULT_SUFFIX=".pem",
    )
    assert config.keys == {
        "acme-2": KeyRootConfig(kind="vault", mount="team1/kv", prefix="", kv_version=1),
        "default": KeyRootConfig(dir=Path("/etc/dkim"), suffix=".pem"),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[keys.default]\nkind = 'consul'", "keys.default.kind = 'consul' is none of files, vault"),
        ("[keys.acme]\nmont = 'x'", "there is no setting keys.acme.mont"),
        ("[keys.acme]\nkv_version = 3", "keys.acme.kv_version = 3 is out of range: 1 to 2"),
        ("[keys.'a.b']\ndir = '/x'", "[keys.a.b]: a key root is called like default or acme-2"),
        ("[keys]\ndir = '/x'", "keys.dir stands alone"),
        ("[vault]\ntoken = 'a'\ntoken_file = '/b'", "both vault.token and vault.token_file are set"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_name(configured, text, sentence):
    with pytest.raises(ConfigError) as caught:
        configured(text)
    assert sentence in str(caught.value)


def test_vaults_own_variables_work_and_openbaos_win(configured):
    config = configured(
        VAULT_ADDR="https://vault.example:8200",
        VAULT_TOKEN="a",
        BAO_TOKEN="b",
        VAULT_NAMESPACE="team1",
        VAULT_CACERT="/etc/ca.pem",
    )
    assert config.vault == VaultConfig(
        address="https://vault.example:8200", token="b", namespace="team1", ca_file=Path("/etc/ca.pem")
    )


def test_a_token_file_of_the_file_beats_a_token_left_in_the_environment(configured):
    config = configured("[vault]\ntoken_file = '/run/vault/token'", VAULT_TOKEN="left over")
    assert (config.vault.token, config.vault.token_file) == ("", Path("/run/vault/token"))


def test_a_token_comes_from_systemds_credentials_too(configured, tmp_path):
    (tmp_path / "vault.token").write_text(CANARY + "\n")
    (tmp_path / "vault.token").chmod(0o400)
    assert configured(CREDENTIALS_DIRECTORY=str(tmp_path)).vault.token == CANARY


def test_a_file_with_a_token_must_not_be_readable_by_everybody(configured):
    with pytest.raises(ConfigError, match="everybody on this machine can read it"):
        configured(f"[vault]\ntoken = '{CANARY}'", mode=0o644)


def test_credentials_do_not_show(configured):
    config = configured(f"[vault]\ntoken = '{CANARY}'\nsecret_id = '{CANARY}'")
    assert CANARY not in repr(config)
