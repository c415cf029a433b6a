"""Rows about DKIM: as many signing domains as there are listener domains elsewhere, and a thousand keys for all of them."""

import tempfile
from pathlib import Path
from statistics import median

from policyd.keys.making import make_pem
from tests.bench.bench import Bench, details
from tests.bench.children import Server
from tests.bench.lookup_rows import KEYS
from tests.bench.table import Row, spread

PLAN, KEY = "/dkim/d%08d.example.com", "/dkim/d%08d.example.com/s1"
_PRIVATE_KEYS = 1_000


async def plans(bench: Bench) -> Row:
    """Signing plans against other lookups, side by side."""
    rows = bench.sizes.rows
    signer, other = await _signer(bench), await bench.service(rows)
    keys = min(KEYS, rows)
    await bench.warm(signer, rows, keys, PLAN)
    await bench.warm(other, rows, keys)
    before = await signer.resident()
    hit, missed, miss_ratios, hit_ratios = [], [], [], []
    for _ in range(bench.sizes.rounds):
        hit.append(await bench.hits(signer, rows, keys, path=PLAN))
        hit_ratios.append(hit[-1].rate / (await bench.hits(other, rows, keys)).rate)
        missed.append(await bench.misses(signer, rows, path=PLAN))
        await bench.note_stall(signer, "signing plans")
        miss_ratios.append(missed[-1].rate / (await bench.misses(other, rows)).rate)
    held = sum(load.answered.requests for load in missed)
    each = (await signer.resident() - before) / held
    body = sum(load.answered.body_bytes for load in missed) / len(missed)
    return Row(
        what=f"{rows:,} DKIM domains with {_PRIVATE_KEYS:,} keys: plans / listener domains per second, hits",
        goal="≥ 0.85",
        measured=f"{median(hit_ratios):.2f}",
        spread=spread(hit_ratios),
        notes=(
            f"misses {median(miss_ratios):.2f} (a plan is two statements); {details(hit, 'hits')}; "
            f"{details(missed, 'misses')}; {each:.0f} bytes for each of {held:,} plans of {body:.0f}; "
            f"load {bench.databases.dkim_load_seconds:.1f} s"
        ),
        values={"hits": median(hit_ratios), "misses": median(miss_ratios), "bytes": each},
    )


async def keys(bench: Bench) -> Row:
    """Private keys by key_id from memory are what nodes ask for; without one, each is read from its file."""
    rows = bench.sizes.rows
    signer = await _signer(bench)
    loads = [await bench.misses(signer, rows, path=KEY) for _ in range(bench.sizes.rounds)]
    await bench.note_stall(signer, "private keys")
    rates = [load.rate for load in loads]
    return Row(
        what="private keys per second, each read from its file and checked",
        goal="",
        measured=f"{median(rates):,.0f}",
        spread=spread(rates),
        notes=f"{details(loads, 'keys')}, p99 {median(load.answered.p99 for load in loads) * 1e3:.1f} ms",
        values={"rate": median(rates)},
    )


async def _signer(bench: Bench) -> Server:
    """A replica with the keys in files."""
    directory = Path(bench.stack.enter_context(tempfile.TemporaryDirectory(prefix="policyd-bench-keys-")))
    (directory / "shared").mkdir()
    for number in range(_PRIVATE_KEYS):
        path = directory / f"shared/k{number}.key"
        path.touch(mode=0o600)
        path.write_bytes(make_pem("ed25519"))
    dsn = await bench.databases.with_dkim(bench.sizes.rows, _PRIVATE_KEYS)
    return await bench.another(dsn, str(directory))
