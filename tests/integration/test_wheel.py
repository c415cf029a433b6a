"""What is installed from a wheel is whole: the program, the schema, the example policy, the Lua client."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from policyd.shipped import example_root, lua_root, sql_root

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory in which pip has unpacked the wheel of this tree."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    offline = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip")
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", wheels, ROOT], check=True)
    [wheel] = wheels.glob("kumo_policyd-*.whl")
    subprocess.run([*pip, "install", *offline, "--no-compile", "--target", target, wheel], check=True)
    return target


def test_a_wheel_brings_the_same_migrations_example_and_lua_client_as_the_repository(installed):
    package = installed / "policyd"
    pairs = (
        (sql_root(), package / "sql"),
        (example_root(), package / "example"),
        (lua_root() / "policyd", package / "lua" / "policyd"),
    )
    for ours, theirs in pairs:
        names = sorted(path.name for path in ours.iterdir())
        assert names
        assert sorted(path.name for path in theirs.iterdir()) == names


def test_an_installed_policyd_finds_its_own_files(installed):
    code = "from policyd.shipped import *; print(sql_root(), example_root(), lua_root())"
    said = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.split() == [str(installed / "policyd" / name) for name in ("sql", "example", "lua")]
    assert (installed / "policyd" / "lua" / "install.sh").is_file()
