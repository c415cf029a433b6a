"""Rows about a real kumod: how much mail it accepts, and in how much memory, with policyd and without."""

import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench import children, kumods
from tests.bench.bench import Bench, progress
from tests.bench.children import Injector
from tests.bench.databases import connection_to
from tests.bench.injector import Mails
from tests.bench.table import Row, spread

SIZES = {100: (1.5, 0.75), 1_000: (4, None), 10_000: (40, 0.75)}
"""How many domains and tenants; what policyd should be beside the file helpers, and beside constants."""
_MOST_MEMORY = 0.05
_SLOW = 5_000
"""From how many keys on the file helpers get a few messages to warm up with and not all: they accept a hundred a second."""


@dataclass(slots=True)
class _Measured:
    """One kumod's rounds."""

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    peak: int = 0

    def __str__(self) -> str:
        busy = f", GENERATOR {max(self.shares):.0%} BUSY" if max(self.shares) > 0.9 else ""
        cost = median(self.costs) * 1e6
        return f"{median(self.rates):,.0f}/s, {cost:,.0f} µs of a core, {self.peak / 2**20:,.0f} MiB{busy}"


async def reception(bench: Bench) -> list[Row]:
    """SMTP reception at each of the sizes: two listener domains, a tenant and a queue for each message."""
    if not kumods.is_there():
        progress("no kumod: neither $KUMOD nor /opt/kumomta/sbin/kumod is one; left out")
        return []
    return [row for keys in SIZES if keys <= bench.sizes.rows for row in await _at(bench, keys)]


async def _at(bench: Bench, keys: int) -> list[Row]:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="policyd-bench-")))
        kumods.write_files(directory, keys)
        dsn = await bench.databases.with_rows(0, f"_kumod_{keys}")
        async with connection_to(dsn) as db:
            await kumods.fill(db, keys)
        service = await bench.another(dsn)
        injector = await stack.enter_async_context(children.injector(bench.where))
        url = f"http://127.0.0.1:{service.port}"
        all_running = [
            await stack.enter_async_context(kumods.running(kind, directory, url)) for kind in kumods.KINDS
        ]
        measured = {kind: _Measured() for kind in kumods.KINDS}
        for each in all_running:
            progress(f"{each.kind}: every key once, of {keys:,}")
            await _warm(injector, each, keys)
        for _ in range(bench.sizes.rounds):
            for each in all_running:
                await _measure(injector, each, keys, measured[each.kind], max(bench.sizes.seconds, 2.0))
        for each in all_running:
            measured[each.kind].peak = each.peak()
    return _rows(keys, measured)


async def _warm(injector: Injector, each: kumods.Running, keys: int) -> None:
    most = 200 if each.kind == "files" and keys >= _SLOW else 2 * keys
    await injector.send(Mails(port=each.port, keys=keys, most=most, seconds=300.0))


async def _measure(
    injector: Injector, each: kumods.Running, keys: int, measured: _Measured, seconds: float
) -> None:
    used = each.cpu()
    received = await injector.send(Mails(port=each.port, keys=keys, seconds=seconds))
    measured.rates.append(received.rate)
    measured.costs.append((each.cpu() - used) / max(received.messages, 1))
    measured.shares.append(received.share)


def _rows(keys: int, measured: dict[str, _Measured]) -> list[Row]:
    ours, files, constants = (measured[kind] for kind in kumods.KINDS)
    beside_files, beside_constants = SIZES[keys]
    rows = [
        _ratio(
            f"kumod's reception with policyd / with the file helpers, {keys:,} domains and tenants",
            beside_files,
            ours,
            files,
        )
    ]
    if beside_constants is not None:
        rows.append(
            _ratio(
                f"kumod's reception with policyd / with constant handlers, {keys:,}",
                beside_constants,
                ours,
                constants,
            )
        )
    rows.append(
        Row(
            what=f"kumod's peak memory with policyd / with the file helpers, {keys:,}",
            goal=f"≤ {_MOST_MEMORY}" if keys == max(SIZES) else "",
            measured=f"{ours.peak / files.peak:.3f}",
            values={"ratio": ours.peak / files.peak, "bytes": float(ours.peak)},
        )
    )
    return rows


def _ratio(what: str, goal: float, ours: _Measured, theirs: _Measured) -> Row:
    ratios = [mine / other for mine, other in zip(ours.rates, theirs.rates, strict=True)]
    by_cpu = median(other / mine for mine, other in zip(ours.costs, theirs.costs, strict=True))
    return Row(
        what=what,
        goal=f"≥ {goal}",
        measured=f"{median(ratios):.2f}",
        spread=spread(ratios),
        notes=f"{ours} beside {theirs}; by processor time {by_cpu:.2f}",
        values={"ratio": median(ratios), "by_cpu": by_cpu, "rate": median(ours.rates)},
    )
