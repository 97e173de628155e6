"""`make bench`: what the agent costs, as ratios to bare CRI calls made in the same run, and at rest."""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from tests.bench.figures import Figure, show
from tests.bench.processes import effort_of, memory_of
from tests.bench.pulling import (
    MIB,
    Bench,
    Compared,
    compare_many,
    compare_one,
    finish_jobs,
    pull_again,
    warm_up,
)
from tests.testbed.agent import Agent
from tests.testbed.containerd import Containerd
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.session import current_session

AT_REST = 60.0
"""Seconds over which the process is watched doing nothing."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the figures judge nothing."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runtime", choices=("1.6", "2.3"), default="1.6")
    parser.add_argument("--pulls", type=int, default=1000, help="pulls of the growth figure")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args(arguments)
    figures = asyncio.run(_measure(options.runtime, options.pulls))
    figures += [_start_up()]
    show(f"containerd {options.runtime}; medians", figures)
    _print_imports()
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2))
    return 0


@asynccontextmanager
async def _bench(flavour: str, workers: int) -> AsyncIterator[Bench]:
    session = current_session()
    async with AsyncExitStack() as opened:
        registry = Registry(session.new_directory("r"))
        containerd = Containerd(flavour, session.new_directory("c"))  # type: ignore[arg-type]
        agent = Agent(
            session.new_directory("a"),
            [containerd.socket],
            session.certificates,
            {"pull-workers": str(workers), "default-ttl-seconds": "3600", "log-level": "warning"},
        )
        for server in (registry, containerd, agent):
            opened.push_async_callback(server.stop)
            await server.start()
        containerd.trust(registry.host)
        channel = Channel(str(containerd.socket))
        opened.push_async_callback(channel.close)
        bench = Bench(agent, CriClient(channel), ImageMaker(registry, f"bench{workers}"))
        await warm_up(bench)
        yield bench


async def _measure(flavour: str, pulls: int) -> list[Figure]:
    figures: list[Figure] = []
    for workers in (2, 5):
        async with _bench(flavour, workers) as bench:
            for size in (1, 8):
                name = f"20 images of {size} MiB, {workers} at a time"
                say(f"{name} …")
                many = await compare_many(bench, 20, size * MIB, workers, runs=5)
                figures.append(_ratio(name, many, factor=1.1, extra=0.0))
    async with _bench(flavour, 2) as bench:
        say("one image of 1 MiB …")
        figures.append(_ratio("1 MiB", await compare_one(bench, MIB, 1, runs=9), factor=1.05, extra=0.15))
        say("one image of 400 MiB …")
        large = await compare_one(bench, 400 * MIB, 4, runs=5)
        figures.append(_ratio("400 MiB in 4 layers", large, factor=1.05, extra=0.15))
    async with _bench(flavour, 2) as bench:
        figures += await _rest(bench)
        figures += await _growth(bench, pulls)
    return figures


def _ratio(name: str, seen: Compared, *, factor: float, extra: float) -> Figure:
    limit = f"<= {factor:g}x" + (f" + {extra:g} s" if extra else "")
    value = f"{seen.agent:.3f} s, bare {seen.bare:.3f} s: {seen.ratio:.2f}x, +{seen.agent - seen.bare:.3f} s"
    return Figure(name, value, limit, seen.agent <= seen.bare * factor + extra)


async def _rest(bench: Bench) -> list[Figure]:
    await finish_jobs(bench, "rest", 20, 10_000)
    await bench.agent.until(lambda view: sum(pull.pinned for pull in view.pulls) >= 20, "pins")
    say(f"{AT_REST:.0f} s at rest with 20 ended jobs …")
    before = effort_of(bench.agent.pid)
    await asyncio.sleep(AT_REST)  # doing nothing is what is measured
    after, memory = effort_of(bench.agent.pid), memory_of(bench.agent.pid)
    share = 100 * (after.cpu_seconds - before.cpu_seconds) / AT_REST
    return [
        Figure(
            "memory at rest",
            f"RSS {memory.rss:.1f}, PSS {memory.pss:.1f}, private {memory.private:.1f} MiB",
            "RSS <= 56 MiB",
            memory.rss <= 56,
        ),
        Figure("CPU at rest", f"{share:.3f} % of a core", "<= 0.1 %", share <= 0.1),
        Figure(
            "wake-ups at rest",
            f"{(after.wake_ups - before.wake_ups) * 60 / AT_REST:.0f} a minute, {after.threads} threads",
        ),
    ]


async def _growth(bench: Bench, pulls: int) -> list[Figure]:
    say(f"{pulls} pulls …")
    await pull_again(bench, max(pulls // 100, 1), 10)
    early, begun = memory_of(bench.agent.pid), effort_of(bench.agent.pid)
    rest = pulls - max(pulls // 100, 1) * 10
    await pull_again(bench, max(rest // 10, 1), 10)
    late, ended = memory_of(bench.agent.pid), effort_of(bench.agent.pid)
    each = (ended.cpu_seconds - begun.cpu_seconds) / rest
    growth = late.rss - early.rss
    return [
        Figure(
            f"memory after {pulls} pulls",
            f"RSS {late.rss:.1f} MiB, {growth:+.1f} since the first {pulls // 10}",
            "< 2 MiB growth",
            growth < 2,
        ),
        Figure("CPU of a pull", f"{1000 * each:.1f} ms"),
    ]


def _start_up() -> Figure:
    seconds = []
    for _ in range(7):
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "daemon", "--version"], check=True, capture_output=True)
        seconds.append(time.monotonic() - begun)
    return Figure("inplaced --version", f"{1000 * sorted(seconds)[3]:.0f} ms")


def _print_imports() -> None:
    """The most expensive imports of the agent, self time."""
    made = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import daemon.standalone"],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = [line.removeprefix("import time:").split("|") for line in made.stderr.splitlines()[1:]]
    rows.sort(key=lambda row: int(row[0]), reverse=True)
    total = sum(int(row[0]) for row in rows)
    print(f"\n  imports of the agent: {len(rows)} modules, {total / 1000:.0f} ms; most of it in")
    for own, _, name in rows[:10]:
        print(f"  {int(own) / 1000:8.1f} ms  {name.strip()}")


def say(words: str) -> None:
    """Progress, beside the table."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
