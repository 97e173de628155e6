"""``inplaced pull --direct`` against real containerds and a real registry."""

import asyncio

from tests.fakes.command import Command, on_terminal
from tests.testbed.containerd import Containerd
from tests.testbed.pushing import ImageMaker

MIB = 2**20


async def ended(command: Command) -> int:
    return await asyncio.to_thread(command.ends)


async def test_a_real_image_comes_with_bars_and_is_there_afterwards(
    containerd: Containerd, image_maker: ImageMaker
) -> None:
    first = await image_maker.make_random("app", 200 * MIB, 5 * MIB)
    settings = {
        "INPLACED_REGISTRY_HOSTS_DIR": str(containerd.settings.certificates),
        "INPLACED_RUNTIME": containerd.endpoint,
        "INPLACED_PROGRESS_INTERVAL": "0.1",
    }

    with on_terminal("pull", "--direct", first.ref, columns=160, env=settings) as command:
        code = await ended(command)
    with on_terminal("pull", "--direct", first.by_digest, columns=160, env=settings) as again:
        code_again = await ended(again)

    assert code == 0, command.text
    assert "/205.0 MiB" in command.text
    assert "205.0 MiB fetched in " in command.text
    assert code_again == 0, again.text
    assert "was on the node already" in again.text
    assert first.name in await containerd.ctr("images", "list", "-q")
