"""
What `docker compose up` does once: schema, roles, the example policy, its keys in OpenBao, and a token to ask with.

Running it again changes nothing that is there. It is the administrator's part: PostgreSQL's superuser and OpenBao's
root token are given to it, and to nothing else.
"""

import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from policyd.operate.first_run import make_keys
from policyd.shipped import example_root

SECRETS = Path(os.environ["SECRETS"])
VAULT = os.environ["VAULT_ADDR"].rstrip("/")
POLICYD = 8085
"""The user in the image of policyd."""

RULES = 'path "secret/data/dkim/*" { capabilities = ["read"] }'


def main() -> None:
    """Everything, in order."""
    policyd("migrate")
    password = (SECRETS / "policyd").read_text().strip()
    policyd("sql", "--file", "-", typed=ROLE.replace("PASSWORD", password))
    if not (SECRETS / "token").exists():
        policyd("import", str(example_root()), "--reason", "the example policy")
        scopes = [
            word for scope in ("lookup", "dkim", "auth", "status", "admin") for word in ("--scope", scope)
        ]
        keep("token", policyd("token", "create", "compose", *scopes))
    let_policyd_into_vault()
    put_keys()


ROLE = """
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'policyd') then
    create role policyd login in role policyd_service;
  end if;
end $$;
alter role policyd password 'PASSWORD';
"""


def let_policyd_into_vault() -> None:
    """A role that may read keys and nothing else, and a secret_id for it."""
    if "approle/" not in vault("GET", "sys/auth")["data"]:
        vault("POST", "sys/auth/approle", {"type": "approle"})
    vault("PUT", "sys/policies/acl/policyd", {"policy": RULES})
    vault("POST", "auth/approle/role/policyd", {"token_policies": "policyd", "token_ttl": "1h"})
    vault("POST", "auth/approle/role/policyd/role-id", {"role_id": "policyd-compose"})
    keep("vault-secret-id", vault("POST", "auth/approle/role/policyd/secret-id")["data"]["secret_id"])


def put_keys() -> None:
    """Keys for what the example signs, where there is none."""
    with tempfile.TemporaryDirectory() as directory:
        make_keys(example_root(), Path(directory))
        for file in Path(directory).rglob("*.key"):
            name = file.relative_to(directory).with_suffix("").as_posix()
            # With cas 0 it is written only where nothing is.
            body = {"data": {"key": file.read_text()}, "options": {"cas": 0}}
            vault("POST", f"secret/data/dkim/{name}", body, may_be_there=True)


def policyd(*arguments: str, typed: str = "") -> str:
    """What the command prints."""
    done = subprocess.run(["policyd", *arguments], check=True, input=typed, stdout=subprocess.PIPE, text=True)
    return done.stdout


def vault(method: str, path: str, body: object = None, *, may_be_there: bool = False) -> dict:
    """OpenBao's answer to its administrator."""
    request = urllib.request.Request(
        f"{VAULT}/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Vault-Token": os.environ["VAULT_TOKEN"]},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        if may_be_there and error.code == 400:
            return {}
        raise
    return json.loads(text) if text else {}


def keep(name: str, text: str) -> None:
    """A secret for policyd's eyes."""
    path = SECRETS / name
    path.touch(mode=0o600)
    path.write_text(text.strip())
    if os.geteuid() == 0:
        os.chown(path, POLICYD, POLICYD)


if __name__ == "__main__":
    main()
