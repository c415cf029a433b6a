"""What `policyd up` puts where nobody has been: a policy to look at, keys that it signs with, a token to ask with."""

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from policyd.errors import PolicyInvalid, Problem
from policyd.keys.making import make_pem
from policyd.operate.credentials import create_credential
from policyd.operate.helper_files import read_paths
from policyd.operate.importing import ImportReport, import_rows
from policyd.operate.tokens import create_token
from policyd.store.pool import Connection, translated
from policyd.store.samples import insert_example_webhook, is_untouched
from policyd.store.tokens import delete_token

TOKEN_NAME = "local"  # noqa: S105 - a name
TOKEN_NETWORKS: Sequence[str] = ("127.0.0.0/8", "::1/128")
TOKEN_SCOPES: Sequence[str] = ("lookup", "dkim", "auth", "status", "admin")
EXAMPLE_CUSTOMER = "acme"


async def import_example(connection: Connection, example: Path) -> ImportReport | None:
    """Import the example policy into a database that holds none, and not a single token."""
    if not await is_untouched(connection):
        return None
    found = read_paths([str(example)])
    if found.problems:
        raise PolicyInvalid([Problem(where="", sentence=str(problem)) for problem in found.problems])
    return await import_rows(
        connection, found, dry_run=False, actor="policyd up", reason="first run: the example policy"
    )


async def make_examples(connection: Connection, path: Path) -> None:
    """
    Add to the example what KumoMTA has no files for: a webhook, and a credential with a password that nobody knows.

    *path* becomes the question that POST /smtp-auth takes, with that password; its owner alone can read it.
    """
    password = secrets.token_urlsafe(18)
    with translated():
        async with connection.transaction():
            await insert_example_webhook(connection)
            await create_credential(connection, EXAMPLE_CUSTOMER, password, tenant=EXAMPLE_CUSTOMER)
    question = {"username": EXAMPLE_CUSTOMER, "password": password, "peer": "127.0.0.1"}
    _write(path, json.dumps(question) + "\n")


def make_keys(example: Path, directory: Path) -> int:
    """
    Make the private keys that the example's rows sign with, as far as they are not there; how many those were.

    They are worth nothing, but nobody has to believe that: their owner alone can read them.
    """
    made = 0
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for wanted in read_paths([str(example)]).wanted_keys:
        path = directory / f"{wanted.name}.key"
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, make_pem("ed25519" if wanted.algorithm == "ed25519" else "sha256").decode())
            made += 1
    return made


async def make_token_file(connection: Connection, path: Path) -> bool:
    """
    Whether a token was made: its file is new. A file that is there stays, whatever became of its token.

    The token is good on this machine only; its file can be read by its owner alone.
    """
    if not _is_wanted(path):
        return False
    with translated():
        async with connection.transaction():
            await delete_token(connection, TOKEN_NAME)
            token = await create_token(connection, TOKEN_NAME, scopes=TOKEN_SCOPES, networks=TOKEN_NETWORKS)
    _write(path, token.written() + "\n")
    return True


def _is_wanted(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    return not path.exists()


def _write(path: Path, text: str) -> None:
    # It has its name when it is whole. Stopped before that, the next start makes another one.
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600, exist_ok=False)
    with partial.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
