"""The Lua client on a host: where it goes, the key that is made once, and what a wheel brings of it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from policyd.cli.main import main
from policyd.shipped import lua_root

ROOT = Path(__file__).parents[2]
OURS = sorted(path.name for path in (ROOT / "lua-client" / "policyd").glob("*.lua"))


class Host:
    """A directory in which a host is, as DESTDIR has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.share = root / "opt/kumomta/share/policyd"
        self.key = root / "opt/kumomta/etc/policyd/store.key"
        self.store = root / "var/spool/kumomta/policyd"

    def install(self, *, status: int = 0) -> str:
        done = subprocess.run(
            ["sh", ROOT / "lua-client" / "install.sh"],
            env={**os.environ, "DESTDIR": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done
        return done.stdout + done.stderr


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_make_install_lua_puts_everything_where_kumod_looks(tmp_path):
    subprocess.run(
        ["make", "-s", "-C", ROOT, "install-lua", f"DESTDIR={tmp_path}", "PREFIX=/elsewhere"],
        check=True,
        capture_output=True,
    )
    assert sorted(path.name for path in (tmp_path / "elsewhere/share/policyd").iterdir()) == OURS
    assert (tmp_path / "elsewhere/etc/policyd/store.key").stat().st_size == 64


def test_the_first_run_makes_a_key_that_nobody_else_reads(host):
    said = host.install()
    assert (host.key.stat().st_size, mode(host.key)) == (64, 0o600)
    assert (mode(host.key.parent), mode(host.store), mode(host.share)) == (0o700, 0o700, 0o755)
    assert {mode(path) for path in host.share.iterdir()} == {0o644}
    assert f"a new store key in {host.key}" in said
    assert "store_key = '/opt/kumomta/etc/policyd/store.key'" in said
    assert "leave the key out: each host makes its own" in said
    assert "restart kumod" not in said


def test_two_hosts_have_two_keys(tmp_path):
    hosts = [Host(tmp_path / name) for name in "ab"]
    for each in hosts:
        each.root.mkdir()
        each.install()
    assert hosts[0].key.read_bytes() != hosts[1].key.read_bytes()


def test_a_second_run_keeps_the_key_and_says_what_to_do(host):
    host.install()
    key = host.key.read_bytes()
    (host.share / "lookup.lua").write_text("-- of an older release")
    (host.share / "gone.lua").write_text("-- of an older release")
    said = host.install()
    assert host.key.read_bytes() == key
    assert sorted(path.name for path in host.share.iterdir()) == OURS
    assert (host.share / "lookup.lua").read_text() == (ROOT / "lua-client/policyd/lookup.lua").read_text()
    assert "is left as it is" in said
    assert "restart kumod now" in said


def test_a_key_that_is_too_short_or_open_is_named_and_left_alone(host):
    host.install()
    host.key.write_bytes(b"short")
    assert "it has 5 bytes, and 64 are needed" in host.install(status=1)
    assert host.key.read_bytes() == b"short"
    host.key.write_bytes(bytes(64))
    host.key.chmod(0o644)
    assert f"others may read it: chmod 600 {host.key}" in host.install(status=1)
    assert mode(host.key) == 0o644


def test_lua_path_is_where_the_modules_are(capsys):
    for option, expected in (((), "{0}\n"), (("--package-path",), "{0}/?.lua;{0}/?/init.lua\n")):
        with pytest.raises(SystemExit) as ended:
            main(["lua-path", *option])
        assert ended.value.code == 0
        assert capsys.readouterr().out == expected.format(lua_root())
    assert sorted(path.name for path in (lua_root() / "policyd").iterdir()) == OURS
