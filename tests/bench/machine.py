"""Where things run: the service alone on one core, everything else on another where there is one."""

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Who is pinned where."""

    service: int
    postgres: int
    client: int


def cores() -> Cores:
    """The cores of this machine, shared out; with two of them PostgreSQL and the client share one."""
    free = sorted(os.sched_getaffinity(0))
    second = free[1 % len(free)]
    return Cores(service=free[0], postgres=second, client=free[2] if len(free) > 2 else second)


def pin(core: int) -> None:
    """Keep this process, and what it starts from now on, on *core*."""
    os.sched_setaffinity(0, {core})


def allow_many_files() -> None:
    """Let this process have thousands of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def description(where: Cores) -> str:
    """This machine in a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}; service on core {where.service}, "
        f"PostgreSQL on {where.postgres}, client on {where.client}; load {os.getloadavg()[0]:.1f}"
    )


def processor_time() -> float:
    """Seconds of processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    """Memory of this process that is really there."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
