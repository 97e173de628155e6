"""Pulls through the agent and through bare CRI calls, in turn, on the same runtime and registry."""

import asyncio
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from statistics import median

import msgspec

from daemon.cri.client import CriClient
from daemon.cri.errors import CriError
from daemon.debug.views import JobView
from tests.testbed.agent import Agent, pull_job
from tests.testbed.pushing import Image, ImageMaker

MIB = 2**20
_TIMEOUT = 300.0
_POLL = 0.02
"""Seconds between two questions; part of the figure."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured with."""

    agent: Agent
    cri: CriClient
    maker: ImageMaker


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians in seconds."""

    agent: float
    bare: float

    @property
    def ratio(self) -> float:
        """Agent over bare."""
        return self.agent / self.bare


async def compare_one(bench: Bench, size: int, layers: int, runs: int) -> Compared:
    """One fresh image of *size* bytes in *layers*: from its manifest to a job that has succeeded."""
    agent: list[float] = []
    bare: list[float] = []
    for run in range(runs):
        for seconds, way in ((bare, _bare), (agent, _asked)):
            name = f"one-{size}-{run}-{way.__name__.strip('_')}"
            image = await bench.maker.make_random(name, *[size // layers] * layers)
            seconds.append(await way(bench, [image], 1))
            await _remove(bench, [image])
    return Compared(median(agent), median(bare))


async def compare_many(bench: Bench, count: int, size: int, workers: int, runs: int) -> Compared:
    """*count* fresh images at once, with *workers* at the same time."""
    agent: list[float] = []
    bare: list[float] = []
    for run in range(runs):
        for seconds, way in ((bare, _bare), (agent, _asked)):
            name = f"many-{workers}-{run}-{way.__name__.strip('_')}"
            images = [await bench.maker.make_random(f"{name}-{number}", size) for number in range(count)]
            seconds.append(await way(bench, images, workers))
            await _remove(bench, images)
    return Compared(median(agent), median(bare))


async def finish_jobs(bench: Bench, prefix: str, count: int, size: int) -> None:
    """Have *count* jobs with an image each end."""
    images = [await bench.maker.make_random(f"{prefix}-{number}", size) for number in range(count)]
    await _asked(bench, images, 1, prefix)


async def pull_again(bench: Bench, rounds: int, fresh: int) -> None:
    """*rounds* times: *fresh* new small images, which are gone again afterwards."""
    for number in range(rounds):
        images = [await bench.maker.make_random(f"again-{number}-{each}", 1000) for each in range(fresh)]
        await _asked(bench, images, 1, "again")
        await _remove(bench, images)


async def warm_up(bench: Bench) -> None:
    """Have everything done once that is done only once: connections, folders, the runtime's own caches."""
    images = [await bench.maker.make_random(f"warm-{number}", 1000) for number in range(2)]
    await _bare(bench, images[:1], 1)
    (bench.agent.state / "imagepulljobs" / "default").mkdir(parents=True, exist_ok=True)
    await _asked(bench, images[1:], 1)
    await _remove(bench, images)


async def _bare(bench: Bench, images: Sequence[Image], workers: int) -> float:
    slots = asyncio.Semaphore(workers)

    async def pull(image: Image) -> None:
        async with slots:
            await bench.cri.pull_image(image.ref, timeout=_TIMEOUT)

    begun = time.monotonic()
    await asyncio.gather(*(pull(image) for image in images))
    return time.monotonic() - begun


async def _asked(bench: Bench, images: Sequence[Image], workers: int, name: str = "bench") -> float:
    """Seconds until the last job has ended. *workers* is the agent's own setting."""
    del workers
    names = [f"{name}-{number}" for number in range(len(images))]
    bench.agent.draft(name, *(pull_job(job, image.ref) for job, image in zip(names, images, strict=True)))
    begun = time.monotonic()
    bench.agent.publish(name)
    refs = {image.ref for image in images}
    settled = asyncio.create_task(bench.agent.settled(set(names), refs, timeout=_TIMEOUT))
    # One job is asked for, as a person would: its status file waits for the disk that the image still fills.
    seconds = await _told(bench, begun, refs) if len(images) == 1 else 0.0
    jobs = await settled
    seconds = seconds or time.monotonic() - begun
    failed = [job["status"] for job in jobs.values() if job["status"]["failed"]]
    if failed:
        raise RuntimeError(f"{len(failed)} jobs failed: {failed[0]}")
    return seconds


async def _told(bench: Bench, begun: float, refs: Set[str]) -> float:
    """Seconds until the agent says that the job for *refs* has ended."""
    while True:
        jobs = msgspec.json.decode(await bench.agent.get("/debug/jobs"), type=list[JobView])
        if any(refs >= set(job.images) and job.completed_at is not None for job in jobs):
            return time.monotonic() - begun
        await asyncio.sleep(_POLL)


async def _remove(bench: Bench, images: Sequence[Image]) -> None:
    """Take jobs and images away again; containerd's collector frees the disk."""
    for name in ("bench", "again"):
        (bench.agent.manifests / f"{name}.yaml").unlink(missing_ok=True)
    refs = {image.ref for image in images}
    await bench.agent.until(lambda view: not refs & {pull.image for pull in view.pulls}, "end of the jobs")
    for image in images:
        try:
            await bench.cri.remove_image(image.ref)
        except CriError as error:
            raise RuntimeError(f"cannot remove {image.ref}: {error}") from error
