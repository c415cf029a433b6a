"""Rows about lookups: hits, misses, storms, and what a million rows change."""

from statistics import median

from tests.bench import children
from tests.bench.bench import FEW_ROWS, Bench, Loaded, details
from tests.bench.table import Row, spread

KEYS = 20_000
_MANY_KEYS = 100_000
_STORM = 256


async def ceiling(bench: Bench) -> Row:
    """What the client can do."""
    async with children.server(bench.where, "yardstick", "fixed", "470") as fixed:
        loads = [await bench.hits(fixed, FEW_ROWS, KEYS) for _ in range(bench.sizes.rounds)]
    rates = [load.rate for load in loads]
    return Row(
        what="the client alone, answers per second",
        goal="",
        measured=f"{median(rates):,.0f}",
        spread=spread(rates),
        notes=f"against a constant answer without HTTP; client {loads[0].answered.client_share:.0%} busy",
        values={"rate": median(rates)},
    )


async def hits(bench: Bench) -> Row:
    """A cached lookup against aiohttp's own least."""
    service = await bench.service(FEW_ROWS)
    warmed = await bench.warm(service, FEW_ROWS, KEYS)
    size = str(round(warmed.answered.body_bytes))
    ours: list[Loaded] = []
    theirs: list[Loaded] = []
    async with children.server(bench.where, "yardstick", "bare", size) as bare:
        await bench.hits(bare, FEW_ROWS, KEYS)
        for _ in range(bench.sizes.rounds):
            ours.append(await bench.hits(service, FEW_ROWS, KEYS))
            theirs.append(await bench.hits(bare, FEW_ROWS, KEYS))
            await bench.note_stall(service, "hits")
    ratios = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
    per_core = median(b.cost / a.cost for a, b in zip(ours, theirs, strict=True))
    return Row(
        what="cached lookup with token and metrics / bare aiohttp router",
        goal="≥ 1.5",
        measured=f"{median(ratios):.2f}",
        spread=spread(ratios),
        notes=f"{details(ours, 'policyd')}; {details(theirs, 'aiohttp')}; by processor time {per_core:.2f}",
        values={"ratio": median(ratios), "by_cpu": per_core, "rate": median(a.rate for a in ours)},
    )


async def misses(bench: Bench) -> Row:
    """A lookup that is read from PostgreSQL against one that is not."""
    rows = bench.sizes.rows
    service = await bench.service(rows)
    await bench.warm(service, rows, min(KEYS, rows))
    missed: list[Loaded] = []
    hit: list[Loaded] = []
    for _ in range(bench.sizes.rounds):
        hit.append(await bench.hits(service, rows, min(KEYS, rows)))
        await bench.note_stall(service, "hits")
        missed.append(await bench.misses(service, rows))
        await bench.note_stall(service, "misses")
    ratios = [a.rate / b.rate for a, b in zip(missed, hit, strict=True)]
    per_core = median(b.cost / a.cost for a, b in zip(missed, hit, strict=True))
    p99 = median(load.answered.p99 for load in missed)
    return Row(
        what=f"misses per second / hits per second, {rows:,} domains",
        goal="≥ 0.8",
        measured=f"{median(ratios):.2f}",
        spread=spread(ratios),
        notes=(
            f"{details(missed, 'misses')}, p99 {p99 * 1e3:.1f} ms; {details(hit, 'hits')}; "
            f"by processor time {per_core:.2f}"
        ),
        values={
            "ratio": median(ratios),
            "rate": median(a.rate for a in missed),
            "cost": median(a.cost for a in missed),
        },
    )


async def storm(bench: Bench) -> Row:
    """Everybody misses at once."""
    rows = bench.sizes.rows
    service = await bench.service(rows)
    loads = []
    for _ in range(bench.sizes.rounds):
        loads.append(await bench.misses(service, rows, _STORM))
        await bench.note_stall(service, "storm of misses")
    slowest = [load.answered.p99 for load in loads]
    p50 = median(load.answered.p50 for load in loads)
    longest = max(load.answered.longest for load in loads)
    return Row(
        what=f"p99 of a storm of misses, {_STORM} connections",
        goal="≤ 25 ms",
        measured=f"{median(slowest) * 1e3:.1f} ms",
        spread=spread(slowest),
        notes=f"p50 {p50 * 1e3:.1f} ms, longest {longest * 1e3:.0f} ms; {details(loads, 'misses')}",
        values={"p99": median(slowest), "p50": p50},
    )


async def scale(bench: Bench) -> Row:
    """What more rows cost."""
    rows = bench.sizes.rows
    few, many = await bench.service(FEW_ROWS), await bench.service(rows)
    keys = min(_MANY_KEYS, rows)
    await bench.warm(few, FEW_ROWS, FEW_ROWS)
    await bench.warm(many, rows, keys)
    hit_ratios, miss_ratios = [], []
    for _ in range(bench.sizes.rounds):
        at_few = await bench.hits(few, FEW_ROWS, FEW_ROWS)
        at_many = await bench.hits(many, rows, keys)
        hit_ratios.append(at_many.rate / at_few.rate)
        at_few = await bench.misses(few, FEW_ROWS)
        at_many = await bench.misses(many, rows)
        miss_ratios.append(at_many.rate / at_few.rate)
        await bench.note_stall(many, "hits and misses in turn")
    worse = min(median(hit_ratios), median(miss_ratios))
    return Row(
        what=f"lookups per second at {rows:,} domains / at {FEW_ROWS:,}",
        goal="≥ 0.85",
        measured=f"{worse:.2f}",
        spread=spread(miss_ratios if worse == median(miss_ratios) else hit_ratios),
        notes=(
            f"hits {median(hit_ratios):.2f} ({keys:,} paths in turn / {FEW_ROWS:,}), "
            f"misses {median(miss_ratios):.2f}; the worse of both counts"
        ),
        values={"hits": median(hit_ratios), "misses": median(miss_ratios)},
    )


async def million(bench: Bench) -> Row:
    """What an installation with very many customers does all day: some hits, many names for the first time."""
    rows = bench.sizes.rows
    service = await bench.service(rows)
    seconds = bench.databases.load_seconds[rows]
    loaded = await bench.misses(service, rows)
    await bench.note_stall(service, "misses")
    return Row(
        what=f"{rows:,} listener domains: load, then lookups of others each time",
        goal="",
        measured=f"{seconds:.1f} s, {loaded.rate:,.0f}/s",
        notes=f"COPY with options checked and every row logged: {rows / seconds:,.0f} rows/s",
        values={"load": seconds, "rate": loaded.rate},
    )


async def memory(bench: Bench) -> Row:
    """What Python adds to an answer."""
    rows = bench.sizes.rows
    service = await bench.another(await bench.databases.with_rows(rows))
    await bench.misses(service, rows, most=2_000)
    before = await service.resident()
    loaded = await bench.misses(service, rows, most=_MANY_KEYS)
    await bench.note_stall(service, "misses")
    each = (await service.resident() - before) / loaded.answered.requests
    payload = loaded.answered.body_bytes
    return Row(
        what="memory per cached answer / its payload",
        goal="≤ 1.7",
        measured=f"{each / payload:.2f}",
        notes=f"{each:.0f} bytes for {payload:.0f} of body and a path; {loaded.answered.requests:,} answers",
        values={"ratio": each / payload},
    )


def longest_stall(bench: Bench) -> Row:
    """The worst of everything that was measured before."""
    worst = max(bench.stalls, key=lambda what: bench.stalls[what])
    worked, _ = bench.stalls[worst]
    others = ", ".join(
        f"{what} {worked * 1e3:.0f} ({passed * 1e3:.0f})" for what, (worked, passed) in bench.stalls.items()
    )
    return Row(
        what="longest stall of the event loop in any bench",
        goal="≤ 30 ms",
        measured=f"{worked * 1e3:.0f} ms",
        notes=f"during {worst}; worked (passed, others' use of the core included), ms: {others}",
        values={"worked": worked, "passed": max(passed for _, passed in bench.stalls.values())},
    )
