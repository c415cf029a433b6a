"""The image and the stack, as far as they can be judged without a container: files, settings, and what they run."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from policyd.cli.main import policyd
from policyd.config import KeyRootConfig, VaultConfig
from policyd.config_loader import known
from policyd.keys import KeyName, open_keys
from policyd.store.health import read_wanted_keys
from tests.conftest import Postgres, connection_to
from tests.integration.vault.double import ROOT as VAULT_ROOT
from tests.integration.vault.servers import doubled

ROOT = Path(__file__).parents[2]
STACK = ROOT / "deploy/compose"
COMPOSE: dict[str, Any] = yaml.safe_load((STACK / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONTAINERFILE = (ROOT / "Containerfile").read_text()
VARIABLES = {f"POLICYD_{key.replace('.', '_').upper()}" for key in known()}
SECRET_FILES = {
    f"POLICYD_{key.replace('.', '_').upper()}_FILE" for key, setting in known().items() if setting.is_secret
}


def test_what_the_image_copies_is_there_and_is_not_ignored():
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert "service" in " ".join(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(Path(source.removeprefix("./")).is_relative_to(each) for each in allowed), source


def test_the_image_holds_no_postgresql_and_every_dependency_by_its_hash():
    lock = (ROOT / "deploy/container/requirements.lock").read_text()
    assert "pgserver" not in lock
    assert "pytest" not in lock
    requirements = re.findall(r"^\S+==\S+", lock, re.MULTILINE)
    assert len(requirements) > 20
    assert len(re.findall(r"^\S+==\S+.*\\$", lock, re.MULTILINE)) == len(requirements)


def test_the_image_locks_what_the_tests_have_seen():
    tested, shipped = (
        dict(re.findall(r"^(\S+)==(\S+)", path.read_text(), re.MULTILINE))
        for path in (ROOT / "requirements.lock", ROOT / "deploy/container/requirements.lock")
    )
    assert shipped.items() <= tested.items()


def test_the_image_does_not_run_as_root():
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", CONTAINERFILE, re.MULTILINE)


def test_what_the_image_runs_is_a_command_and_what_it_sets_is_a_setting():
    (command,) = re.findall(r'^CMD \["(\w+)"\]$', CONTAINERFILE, re.MULTILINE)
    assert CliRunner().invoke(policyd, [command, "--help"]).exit_code == 0
    assert set(re.findall(r"\b(POLICYD_\w+)=", CONTAINERFILE)) - SECRET_FILES <= VARIABLES


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_the_stack_names_files_volumes_and_services_that_are_there(name):
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        assert (STACK / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), port
    ours = {key for key in service.get("environment", {}) if key.startswith("POLICYD_")}
    assert ours <= VARIABLES | SECRET_FILES


def test_who_waits_for_somebody_waits_for_what_that_one_tells():
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            is_health = how["condition"] == "service_healthy"
            assert ("healthcheck" in SERVICES[other]) >= is_health, other


def test_prometheus_of_the_stack_scrapes_every_policyd(tmp_path):
    (job,) = yaml.safe_load((STACK / "prometheus.yaml").read_text())["scrape_configs"]
    targets = job["static_configs"][0]["targets"]
    assert targets == [f"{name}:9085" for name in SERVICES if name.startswith("policyd-")]
    assert job["job_name"] == "policyd"  # the alerts say so


def test_grafana_of_the_stack_is_given_the_dashboards_and_prometheus():
    (provider,) = yaml.safe_load((STACK / "grafana/dashboards/policyd.yaml").read_text())["providers"]
    assert f"../grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    (source,) = yaml.safe_load((STACK / "grafana/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "deploy/grafana/dashboards" / Path(home).name).exists()


def test_passwords_are_made_once(tmp_path):
    script = (STACK / "passwords.sh").read_text().replace("/secrets", str(tmp_path))
    script = re.sub(r"^chown .*$", "", script, flags=re.MULTILINE)
    made = []
    for _ in range(2):
        subprocess.run(["sh", "-c", script], check=True)
        made.append({path.name: path.read_text() for path in tmp_path.iterdir()})
    assert made[0] == made[1]
    assert sorted(made[0]) == ["grafana", "policyd", "postgres"]
    assert len(set(made[0].values())) == 3
    assert all(re.fullmatch(r"[\w-]{20,}", text) for text in made[0].values())
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


async def test_the_setup_of_the_stack_makes_what_policyd_needs_and_changes_nothing_the_second_time(
    postgres: Postgres, empty_dsn: str, tmp_path: Path
):
    (tmp_path / "policyd").write_text("compose-password")
    try:
        async with doubled() as (vault, _):
            await set_up(empty_dsn, vault.address, tmp_path)
            token = (tmp_path / "token").read_text()
            await set_up(empty_dsn, vault.address, tmp_path)
            assert (tmp_path / "token").read_text() == token
            config = VaultConfig(
                address=vault.address,
                login="approle",
                role_id="policyd-compose",
                secret_id_file=tmp_path / "vault-secret-id",
            )
            roots = MappingProxyType({"default": KeyRootConfig(kind="vault")})
            async with open_keys(roots, config, lambda _: None) as keys, connection_to(empty_dsn) as db:
                wanted = await read_wanted_keys(db, most=100)
                assert wanted
                for each in wanted:
                    assert await keys.read(KeyName(root=each.root, name=each.name)) is not None
                assert await db.fetchval("select count(*) from policy.api_token") == 1
        assert re.fullmatch(r"compose\.\S{20,}", token)
    finally:
        async with postgres.administrator() as connection:
            await connection.execute("drop role if exists policyd")


async def set_up(dsn: str, vault: str, secrets: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(STACK / "setup.py"),
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "POLICYD_DATABASE_DSN": dsn,
            "VAULT_ADDR": vault,
            "VAULT_TOKEN": VAULT_ROOT,
            "SECRETS": str(secrets),
        },
    )
    assert await process.wait() == 0
