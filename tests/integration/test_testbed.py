"""The test bed itself: if it does not do what it says, no test that stands on it means anything."""

from tests.testbed.containerd import Containerd
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry


async def pull(containerd: Containerd, ref: str, *options: str) -> None:
    hosts = str(containerd.settings.certificates)
    await containerd.ctr("images", "pull", "--hosts-dir", hosts, *options, ref)


async def test_a_pulled_image_is_listed_with_its_digest(
    containerd: Containerd, image_maker: ImageMaker
) -> None:
    image = await image_maker.make_random("app", 1000, 2000)

    await pull(containerd, image.ref)

    assert f"{image.ref} " in await containerd.ctr("images", "ls")
    assert image.digest in await containerd.ctr("images", "ls", f"name=={image.ref}")


async def test_a_registry_tells_what_was_fetched(
    containerd: Containerd, registry: Registry, image_maker: ImageMaker
) -> None:
    image = await image_maker.make_random("app", 1000)

    await pull(containerd, image.ref)

    fetched = [
        a
        for a in registry.accesses(image.repository)
        if a.path.endswith(image.layers[0].digest) and a.method == "GET"
    ]
    assert {(a.status, a.bytes) for a in fetched} == {(200, image.layers[0].size)}
