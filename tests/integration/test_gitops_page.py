"""docs/gitops.md: what it tells people to type works as it says, and its files are read."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import transfer

PAGE = (Path(__file__).parents[2] / "docs/gitops.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ") for kind, text in BLOCKS if kind == "console" for line in text.splitlines()
]


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_the_commands_of_the_page_can_be_typed_in_their_order(dsn: str, tmp_path: Path) -> None:
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "POLICYD_DATABASE_DSN": dsn,
        **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    script = "\n".join(["set -ex", *COMMANDS])
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert len(COMMANDS) == 10
    assert done.stdout.count("Nothing changed.") == 2


def test_the_file_of_the_page_is_one_that_policyd_reads() -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "toml"]
    signer = '[base]\nselector = "s1"\nheaders = ["From"]\n[domain."example.com"]\n'
    files = [read_helper_file("policyd_data.toml", text), read_helper_file("dkim_data.toml", signer)]
    assert files[0].kind == "policyd"
    assert transfer(files).problems == ()
    assert len(tomllib.loads(text)) == 6
