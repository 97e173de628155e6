"""A process that writes statuses until it is killed, and says of each when it is on the disk."""

import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace

from daemon.objects.meta import Key
from tests.functional.stores import loaded, told


async def write_for_ever(path: Path) -> None:
    async with loaded(path) as seen:
        jobs = [seen.job(f"job-{number}") for number in range(5)]
        number = jobs[0].status.desired
        while True:
            number += 1
            await asyncio.gather(
                *(
                    seen.jobs.replace_status(told(seen.jobs.get(each.metadata.key) or each, number))
                    for each in jobs
                )
            )
            print(number, flush=True)
            extra = Key("default", "extra")
            there = seen.jobs.get(extra)
            if there is not None:
                await seen.jobs.delete(there)
            else:
                await seen.jobs.create(replace(jobs[0], metadata=replace(jobs[0].metadata, name="extra")))


if __name__ == "__main__":
    asyncio.run(write_for_ever(Path(sys.argv[1])))
