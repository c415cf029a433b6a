"""Rows about logins: what a refusal tells by how long it takes, and what remembering saves."""

import time
from itertools import count
from statistics import median

import aiohttp

from policyd.passwords import hash_password
from tests.bench.bench import FEW_ROWS, HEADERS, Bench
from tests.bench.table import Row, spread
from tests.conftest import connection_to

_CUSTOMERS = 20
_TRIES = 60
_PASSWORD = "a password of the bench"
_attempts = count()


async def logins(bench: Bench) -> Row:
    """A wrong password of a user that there is against one of nobody's, side by side."""
    dsn = await bench.databases.with_rows(FEW_ROWS)
    await _make_customers(dsn)
    service = await bench.service(FEW_ROWS)
    ratios, known, unknown, remembered = [], [], [], []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{service.port}", headers=HEADERS) as session:
        for _ in range(bench.sizes.rounds):
            mine: list[float] = []
            nobodys: list[float] = []
            again: list[float] = []
            for number in range(_TRIES):
                both = [(f"customer{number % _CUSTOMERS}", mine), (f"nobody{next(_attempts)}", nobodys)]
                for username, times in both if number % 2 else reversed(both):  # neither is always the first
                    times.append(await _seconds(session, username, "wrong", let_in=False))
                await _seconds(session, "customer0", _PASSWORD, let_in=True)
                again.append(await _seconds(session, "customer0", _PASSWORD, let_in=True))
            known.append(median(mine))
            unknown.append(median(nobodys))
            remembered.append(median(again))
            ratios.append(known[-1] / unknown[-1])
    return Row(
        what="wrong password of a known user / of an unknown one, time to the answer",
        goal="1.0 within noise",
        measured=f"{median(ratios):.3f}",
        spread=spread(ratios),
        notes=f"{median(known) * 1e3:.1f} and {median(unknown) * 1e3:.1f} ms; remembered {median(remembered) * 1e3:.2f} ms",
        values={"ratio": median(ratios), "known": median(known), "remembered": median(remembered)},
    )


async def _make_customers(dsn: str) -> None:
    password_hash = hash_password(_PASSWORD)
    async with connection_to(dsn) as connection:
        await connection.execute("insert into policy.tenant (name) values ('bench') on conflict do nothing")
        await connection.executemany(
            "insert into policy.smtp_credential (username, password_hash, tenant) values ($1, $2, 'bench')"
            " on conflict do nothing",
            [(f"customer{number}", password_hash) for number in range(_CUSTOMERS)],
        )
        await connection.execute("update policy.api_token set scopes = array['lookup', 'auth', 'status']")


async def _seconds(session: aiohttp.ClientSession, username: str, password: str, *, let_in: bool) -> float:
    # Each from a network of its own, or the limits of failures would be measured.
    number = next(_attempts)
    peer = f"10.{number >> 8 & 255}.{number & 255}.1"
    attempt = {
        "username": username,
        "password": f"{password}" if let_in else f"{password} {number}",
        "peer": peer,
    }
    began = time.perf_counter()
    async with session.post("/smtp-auth", json=attempt) as response:
        answer = await response.json()
    passed = time.perf_counter() - began
    if response.status != 200 or answer["authenticated"] is not let_in:
        raise RuntimeError(f"{response.status} {answer}")
    return passed
