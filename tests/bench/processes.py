"""What a process costs: memory, processor time, wake-ups. Linux only; sizes in MiB."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """From smaps_rollup(5)."""

    rss: float
    pss: float
    private: float
    dirty: float
    """The part of ``private`` that could not be dropped: what each further process costs."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Since the process began."""

    cpu_seconds: float
    wake_ups: int
    threads: int


def memory_of(pid: int) -> Memory:
    """Memory of a process now."""
    fields: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        fields[name.rstrip(":")] = int(size) / 1024
    dirty = fields["Private_Dirty"]
    return Memory(fields["Rss"], fields["Pss"], fields["Private_Clean"] + dirty, dirty)


def effort_of(pid: int) -> Effort:
    """Processor time and voluntary context switches of all threads, and how many threads there are."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return Effort(
        (int(user) + int(system)) / _TICKS, sum(_switches(thread) for thread in threads), len(threads)
    )


def _switches(thread: Path) -> int:
    line = next(
        line for line in (thread / "status").read_text().splitlines() if line.startswith("voluntary_ctxt")
    )
    return int(line.split()[1])
