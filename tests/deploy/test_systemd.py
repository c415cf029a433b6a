"""The units: systemd's own judgement of them, and that what they run exists."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from policyd.cli.main import policyd
from policyd.config_loader import known

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SERVICES = ["policyd.service", "policyd@.service", "policyd-shaping-pull.service"]
EXPOSURE = 20
"""Ten times what `systemd-analyze security` calls the exposure; 2.0 is its upper limit for what is called OK."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units where their command exists, which is not under /opt here."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/policyd/bin/policyd", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def analyze(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], cwd=directory, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
@pytest.mark.parametrize("unit", ["policyd.service", "policyd@1.service", "policyd-shaping-pull.timer"])
def test_systemd_has_nothing_to_complain_of(installed, unit):
    assert analyze(installed, "verify", "--man=no", f"./{unit}") == ""


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_exposes_little(installed, unit):
    analyze(installed, "security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE}", f"./{unit}")


@pytest.mark.parametrize("unit", SERVICES)
def test_what_a_unit_runs_is_a_command(unit):
    (line,) = re.findall(
        r"^ExecStart=/opt/policyd/bin/policyd (.+)$", (UNITS / unit).read_text(), re.MULTILINE
    )
    command = [word for word in line.split() if "/" not in word]
    assert CliRunner().invoke(policyd, [*command, "--help"]).exit_code == 0


@pytest.mark.parametrize("unit", SERVICES)
def test_what_a_unit_sets_is_a_setting(unit):
    text = (UNITS / unit).read_text()
    variables = {f"POLICYD_{key.replace('.', '_').upper()}" for key in known()} | {"POLICYD_CONFIG"}
    assert set(re.findall(r"\b(POLICYD_\w+)=", text)) <= variables
    credentials = re.findall(r"^#?LoadCredential=([\w.]+):(\S+)$", text, re.MULTILINE)
    assert credentials
    for name, file in credentials:
        assert known()[name].is_secret
        assert Path(file).name == name


def test_a_process_per_core_differs_in_its_port_alone():
    one, many = ((UNITS / name).read_text().splitlines() for name in SERVICES[:2])
    settings = [[line for line in unit if line and not line.startswith("#")] for unit in (one, many)]
    differing = [line for line in settings[1] if line not in settings[0]]
    assert all("%i" in line for line in differing), differing
    assert [line for line in settings[0] if line not in settings[1]] == [
        "Description=policyd, live policy for KumoMTA"
    ]
