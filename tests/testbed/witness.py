"""What the runtime itself says, beside the words of the agent under test."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.types import Image
from tests.testbed.containerd import Containerd
from tests.testbed.processes import until

DEADLINE = 20.0


@asynccontextmanager
async def _client(containerd: Containerd) -> AsyncIterator[CriClient]:
    channel = Channel(str(containerd.socket))
    try:
        yield CriClient(channel)
    finally:
        await channel.close()


@dataclass(frozen=True, slots=True)
class Witness:
    """Asks one containerd by connections of its own."""

    containerd: Containerd

    async def image(self, ref: str) -> Image | None:
        """The image, if it is there."""
        async with _client(self.containerd) as cri:
            return await cri.image_status(ref)

    async def pull(self, ref: str) -> None:
        """Pull it past the agent."""
        async with _client(self.containerd) as cri:
            await cri.pull_image(ref, timeout=60.0)

    async def remove(self, ref: str) -> None:
        """Remove the image, as the kubelet's collector would."""
        async with _client(self.containerd) as cri:
            await cri.remove_image(ref)

    async def pinned(self) -> set[str]:
        """The references that are pinned: by what CRI reports, or by lease where it cannot."""
        if self.containerd.flavour == "1.6":
            return set(re.findall(r"inplaced\.dev/pin=([^\s,]+)", await self.containerd.ctr("leases", "ls")))
        async with _client(self.containerd) as cri:
            images = [image for image in await cri.list_images() if image.pinned]
        return {ref for image in images for ref in (*image.repo_tags, *image.repo_digests)}

    async def until_pinned(self, ref: str, *, pinned: bool = True) -> None:
        """Wait until *ref* is pinned, or is not."""

        async def reached() -> bool:
            return (ref in await self.pinned()) is pinned

        await until(reached, timeout=DEADLINE, what=f"{ref} pinned: {pinned}")

    async def ingests(self) -> list[str]:
        """What is being fetched, or was left half-fetched: a name each."""
        lines = (await self.containerd.ctr("content", "active")).splitlines()
        return [line.split()[0] for line in lines[1:] if line.strip()]

    async def until_idle(self) -> None:
        """Wait until nothing is half-fetched."""

        async def reached() -> bool:
            return not await self.ingests()

        await until(reached, timeout=DEADLINE, what="no ingest")
