"""
A Vault of our own that answers as a real one was seen to answer, where policyd or a test's administrator asks.

Bodies and statuses are those of an OpenBao 2.6.2. The same tests run against a real server where there is one.
"""

import asyncio
import json
import math
import re
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

ROOT = "root-canary-4711"
DENIED = "1 error occurred:\n\t* permission denied\n\n"
_DEFAULT_POLICY = ("auth/token/lookup-self", "auth/token/renew-self")
_JSON = {"request_id": "", "lease_id": "", "renewable": False, "lease_duration": 0, "auth": None}


@dataclass
class Token:
    policies: tuple[str, ...]
    life: float = math.inf
    ends: float = math.inf
    last: float = math.inf
    renewable: bool = False

    @property
    def left(self) -> float:
        return max(0.0, self.ends - time.monotonic())


@dataclass
class Role:
    role_id: str
    settings: Mapping[str, Any]
    secret_ids: set[str] = field(default_factory=set)
    bad: int = 0


@dataclass
class Version:
    data: Any
    deletion_time: str = ""
    deleted: bool = False
    destroyed: bool = False


class Refusal(Exception):
    def __init__(self, status: int, *errors: str, **body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body or {"errors": list(errors)}


Fault = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


class VaultDouble:
    """Mounts, secrets, tokens and roles; and what is wrong with it."""

    def __init__(self) -> None:
        self.address = ""
        self.sealed = False
        self.fault: Fault | None = None
        self.asked: list[str] = []
        self.mounts: dict[str, str] = {"secret": "2"}
        self.namespaces = {"", "root"}
        self.secrets: dict[str, Any] = {}
        self.tokens = {ROOT: Token(("root",))}
        self.policies: dict[str, tuple[str, ...]] = {}
        self.roles: dict[str, Role] = {}
        self.pods: dict[str, str] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if self.fault is not None and (response := await self.fault(request)) is not None:
            return response
        text = await request.text()
        try:
            body = self._answer(request, json.loads(text) if text else {})
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        return web.Response(status=204) if body is None else web.json_response(body)

    def _answer(self, request: web.BaseRequest, sent: dict[str, Any]) -> dict[str, Any] | None:
        path = request.path.removeprefix("/v1/")
        namespace = request.headers.get("X-Vault-Namespace", "").strip("/")
        if path == "sys/health":
            return self._health(namespace)
        if path == "sys/unseal":
            self.sealed = False
            return {"sealed": False}
        if self.sealed:
            raise Refusal(503, "Vault is sealed")
        if namespace not in self.namespaces:
            raise Refusal(404, "namespace not found")
        if path.endswith("/login"):
            return self._login(path.split("/")[1], sent)
        token = self._token(request.headers.get("X-Vault-Token", ""))
        if "root" not in token.policies and not self._allows(token, path):
            raise Refusal(403, DENIED)
        if path.startswith("auth/token/"):
            return self._tokens(path.removeprefix("auth/token/"), request, token, sent)
        if path.startswith("auth/approle/role/"):
            return self._approle(path.removeprefix("auth/approle/role/"), sent)
        if path.startswith("sys/"):
            return self._system(path.removeprefix("sys/"), namespace, sent)
        return self._secret(_inside(namespace, path), request, sent)

    def _health(self, namespace: str) -> dict[str, Any]:
        if namespace:
            raise Refusal(400, "unsupported path")
        body = {"initialized": True, "sealed": self.sealed, "standby": False}
        if self.sealed:
            raise Refusal(503, **body)
        return body

    def _token(self, text: str) -> Token:
        token = self.tokens.get(text)
        if token is None or token.left <= 0:
            raise Refusal(403, "permission denied")
        return token

    def _allows(self, token: Token, path: str) -> bool:
        patterns = [each for name in token.policies for each in self.policies.get(name, ())]
        if path.startswith("sys/internal/ui/mounts/"):
            mount = path.removeprefix("sys/internal/ui/mounts/")
            return any(each.startswith(mount + "/") for each in patterns)
        return any(
            path.startswith(each[:-1]) if each.endswith("*") else path == each for each in patterns
        ) or ("default" in token.policies and path in _DEFAULT_POLICY)

    def _tokens(
        self, path: str, request: web.BaseRequest, token: Token, sent: dict[str, Any]
    ) -> dict[str, Any] | None:
        if path == "lookup-self":
            shown = 0 if math.isinf(token.life) else math.ceil(token.left)
            life = 0 if math.isinf(token.life) else int(token.life)
            return _JSON | {
                "data": {"ttl": shown, "creation_ttl": life, "renewable": token.renewable, "num_uses": 0}
            }
        if path == "renew-self":
            if not token.renewable:
                raise Refusal(400, "lease is not renewable")
            # Never beyond its longest life, and always in whole seconds.
            left = max(1.0, min(float(sent.get("increment", token.life)), token.last - time.monotonic()))
            token.ends = min(time.monotonic() + left, token.last)
            return _auth(request.headers["X-Vault-Token"], left, renewable=True)
        if path == "revoke":
            del self.tokens[sent["token"]]
            return None
        assert path == "create", path
        policies = tuple(sent["policies"]) + (() if sent.get("no_default_policy") else ("default",))
        return self._grant(policies, sent.get("ttl"), None, renewable=sent.get("renewable", True))

    def _grant(
        self, policies: tuple[str, ...], ttl: Any, most: Any, *, renewable: bool = True
    ) -> dict[str, Any]:
        text, now = f"hvs.canary-{uuid.uuid4().hex}", time.monotonic()
        life, last = _seconds(ttl or "768h"), _seconds(most or "768h")
        self.tokens[text] = Token(policies, life, now + life, now + last, renewable)
        return _auth(text, life, renewable=renewable)

    def _login(self, mount: str, sent: dict[str, Any]) -> dict[str, Any]:
        if mount == "kubernetes":
            if self.pods.get(sent["jwt"]) != sent["role"]:
                raise Refusal(403, "permission denied")
            return self._grant(("keys", "default"), "1h", None)
        found = [role for role in self.roles.values() if role.role_id == sent["role_id"]]
        if not found:
            raise Refusal(400, "invalid role or secret ID")
        [role] = found
        if role.bad >= 5:
            raise Refusal(403, "permission denied")
        if not sent.get("secret_id"):
            raise Refusal(400, "missing secret_id")
        if sent["secret_id"] not in role.secret_ids:
            role.bad += 1
            raise Refusal(400, "invalid role or secret ID")
        policies = role.settings["token_policies"]
        names = tuple(policies.split(",")) if isinstance(policies, str) else tuple(policies)
        return self._grant(
            (*names, "default"), role.settings.get("token_ttl"), role.settings.get("token_max_ttl")
        )

    def _approle(self, path: str, sent: dict[str, Any]) -> dict[str, Any] | None:
        name, _, what = path.partition("/")
        if not what:
            known = self.roles.get(name)
            self.roles[name] = Role(f"role-{uuid.uuid4()}", sent)
            if known is not None:
                self.roles[name].role_id, self.roles[name].secret_ids = known.role_id, known.secret_ids
            return None
        role = self.roles[name]
        if what == "role-id" and sent:
            role.role_id = sent["role_id"]
            return None
        if what == "role-id":
            return _JSON | {"data": {"role_id": role.role_id}}
        if what == "secret-id/destroy":
            role.secret_ids.discard(sent["secret_id"])
            return None
        secret_id = f"canary-secret-{uuid.uuid4()}"
        role.secret_ids.add(secret_id)
        return _JSON | {"data": {"secret_id": secret_id}}

    def _system(self, path: str, namespace: str, sent: dict[str, Any]) -> dict[str, Any] | None:
        if path.startswith("internal/ui/mounts/"):
            mount = _inside(namespace, path.removeprefix("internal/ui/mounts/"))
            if mount not in self.mounts or (not namespace and mount.partition("/")[0] in self.namespaces):
                raise Refusal(403, "preflight capability check returned 403, please ensure client's policies")
            return _JSON | {
                "data": {"type": "kv", "options": {"version": self.mounts[mount]}, "path": mount + "/"}
            }
        if path == "auth":
            return _JSON | {"data": {"approle/": {"type": "approle"}, "token/": {"type": "token"}}}
        if path.startswith("mounts/"):
            mount = _inside(namespace, path.removeprefix("mounts/"))
            self.mounts[mount] = (sent.get("options") or {}).get("version", "1")
        elif path.startswith("policies/acl/"):
            self.policies[path.rpartition("/")[2]] = tuple(re.findall(r'path "([^"]+)"', sent["policy"]))
        elif path.startswith("namespaces/"):
            self.namespaces.add(path.removeprefix("namespaces/"))
        elif path == "seal":
            self.sealed = True
        return None

    def _secret(self, path: str, request: web.BaseRequest, sent: dict[str, Any]) -> dict[str, Any] | None:
        mount = next((each for each in self.mounts if path.startswith(each + "/")), None)
        if mount is None:
            raise Refusal(404, f"no handler for route {path!r}. route entry not found.")
        rest = path.removeprefix(mount + "/")
        if self.mounts[mount] == "1":
            return self._version_1(path, request.method, sent)
        verb, _, name = rest.partition("/")
        if verb not in ("data", "delete", "destroy", "metadata"):
            said = "Invalid path for a versioned K/V secrets engine. See the API docs."
            raise Refusal(404, data=None, warnings=[said])
        return self._version_2(verb, f"{mount}/{name}", request.method, sent)

    def _version_1(self, path: str, method: str, sent: dict[str, Any]) -> dict[str, Any] | None:
        if method != "GET":
            self.secrets[path] = sent
            return None
        if path not in self.secrets:
            raise Refusal(404, errors=[])
        return _JSON | {"lease_duration": 2764800, "data": self.secrets[path]}

    def _version_2(self, verb: str, path: str, method: str, sent: dict[str, Any]) -> dict[str, Any] | None:
        if path.endswith("/"):
            raise Refusal(500, "could not find version data")
        if verb == "metadata":
            self.secrets.setdefault(path, [])
            return None
        if method == "DELETE":
            self.secrets[path][-1].deleted = True
            return None
        if verb == "destroy":
            for number in sent["versions"]:
                self.secrets[path][int(number) - 1].destroyed = True
            return None
        if method != "GET":
            wanted = sent.get("options", {}).get("cas")
            if wanted is not None and wanted != len(self.secrets.get(path, [])):
                raise Refusal(400, "check-and-set parameter did not match the current version")
            self.secrets.setdefault(path, []).append(Version(sent["data"]))
            return _JSON | {"data": {"version": len(self.secrets[path])}}
        if not self.secrets.get(path):
            raise Refusal(404, errors=[])
        return self._read(self.secrets[path])

    def _read(self, versions: list[Version]) -> dict[str, Any]:
        found = versions[-1]
        gone = found.deleted or found.destroyed
        metadata = {
            "custom_metadata": None,
            "deletion_time": "2026-11-22T10:00:00Z" if found.deleted else found.deletion_time,
            "destroyed": found.destroyed,
            "version": len(versions),
        }
        body = _JSON | {"data": {"data": None if gone else found.data, "metadata": metadata}}
        if gone:
            raise Refusal(404, **body)
        return body


@asynccontextmanager
async def serving(
    double: VaultDouble, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[VaultDouble]:
    """*double* on a port of loopback, until the context is left; then the port is closed."""
    runner = web.ServerRunner(web.Server(double, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    host, chosen = runner.addresses[0][:2]
    double.address = f"{'https' if tls else 'http'}://{host}:{chosen}"
    try:
        yield double
    finally:
        await asyncio.wait_for(runner.cleanup(), 5)


def _inside(namespace: str, path: str) -> str:
    return f"{namespace}/{path}" if namespace not in ("", "root") else path


def _auth(token: str, life: float, *, renewable: bool) -> dict[str, Any]:
    return _JSON | {
        "data": None,
        "auth": {
            "client_token": token,
            "accessor": "a",
            "lease_duration": int(life),
            "renewable": renewable,
            "token_type": "service",
        },
    }


def _seconds(text: Any) -> float:
    number, unit = re.fullmatch(r"(\d+)([smh]?)", str(text)).groups()  # type: ignore[union-attr]  # ours
    return float(number) * {"": 1, "s": 1, "m": 60, "h": 3600}[unit]
