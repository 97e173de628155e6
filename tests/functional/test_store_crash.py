"""A process that is killed at any moment leaves a state directory in which nothing that was told is lost."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from tests.functional.stores import DEADLINE, job_text, loaded

ROUNDS = 8


async def killed_after(path: Path, lines: int) -> int:
    """Run the writer, kill it after so many lines, and return the last number that it told."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.functional.state_writer", str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE + lines):
            for _ in range(lines):
                assert await process.stdout.readline()
    finally:
        process.kill()
    rest = await process.stdout.read()
    await process.wait()
    return len(rest.splitlines()) + lines


@pytest.mark.timeout(120)
async def test_nothing_that_was_told_is_lost(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    text = "---\n".join(job_text(f"job-{number}") for number in range(5))
    (tmp_path / "manifests" / "a.yaml").write_text(text)
    chance = random.Random(7)
    expected, uids = 0, set()
    for _ in range(ROUNDS):
        expected += await killed_after(tmp_path, chance.randint(1, 40))

        async with loaded(tmp_path) as seen:
            jobs = [seen.job(f"job-{number}") for number in range(5)]
            uids |= {job.metadata.uid for job in jobs}
            assert seen.store.problems() == ()
            assert all(job.status.desired in {expected, expected + 1} for job in jobs)
            expected = min(job.status.desired for job in jobs)
            assert not list((tmp_path / "state").rglob("*.tmp"))
    assert len(uids) == 5
