"""Progress and pins on real containerds, old and new."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from google.protobuf.empty_pb2 import Empty
from grpclib.client import UnaryUnaryMethod

from daemon.cri import progress
from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.containerd.contents import ContentStore
from daemon.cri.containerd.extras import connect_extras
from daemon.cri.containerd.holdings import holdings, snapshotter_of
from daemon.cri.containerd.leases import LeasePins
from daemon.cri.errors import UnsupportedError
from daemon.cri.extras import Blob, Capabilities, ImageExtras
from daemon.cri.manifests import chain_id
from daemon.cri.progress import Progress, Sighting
from tests.testbed.containerd import Containerd, Flavour
from tests.testbed.faults import hold, throttle
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.images import Build, Platform, build, build_index, random_layer
from tests.testbed.processes import until
from tests.testbed.pushing import Image, ImageMaker

TIMEOUT = 60.0
MB = 1_000_000
AFTER = 2 * MB
"""containerd writes what it fetches in steps of one MiB, so that less than that is never seen."""
INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Connection:
    containerd: Containerd
    channel: Channel
    cri: CriClient
    extras: ImageExtras

    async def present(self, image: Image) -> frozenset[str]:
        return await self.extras.present([layer.digest for layer in image.layers])

    async def is_pinned(self, ref: str) -> bool:
        image = await self.cri.image_status(ref)
        return image is not None and image.pinned

    async def until_unpinned(self, ref: str) -> None:
        """CRI hears of changed labels by an event."""

        async def unpinned() -> bool:
            return not await self.is_pinned(ref)

        await until(unpinned, timeout=TIMEOUT, what="unpinned")


@asynccontextmanager
async def connecting(containerd: Containerd) -> AsyncIterator[Connection]:
    channel = Channel(str(containerd.socket))
    try:
        cri = CriClient(channel)
        version = await cri.version()
        extras = await connect_extras(channel, version.runtime_name, version.runtime_version)
        yield Connection(containerd, channel, cri, extras)
    finally:
        await channel.close()


@pytest_asyncio.fixture
async def node(containerd: Containerd) -> AsyncIterator[Connection]:
    async with connecting(containerd) as connection:
        yield connection


@pytest.fixture
def by_label(flavour: Flavour) -> bool:
    return flavour == "2.3"


def blobs_of(image: Image) -> list[Blob]:
    return [Blob(layer.digest, layer.size) for layer in image.layers]


async def watched(node: Connection, image: Image, *, known: bool = True) -> list[Progress]:
    """Pull *image* and look at it now and then, as a pull task does."""
    clock = asyncio.get_running_loop().time
    wanted = blobs_of(image) if known else None
    first = Sighting(clock(), await node.extras.ingests(), await node.present(image))
    seen = [progress.begin(wanted, first)]
    pull = asyncio.create_task(node.cri.pull_image(image.ref, timeout=TIMEOUT))
    while not pull.done():
        ingests = await node.extras.ingests()
        present = await node.extras.present(progress.unsure(seen[-1], ingests))
        seen.append(progress.observe(seen[-1], Sighting(clock(), ingests, present)))
        await asyncio.wait([pull], timeout=INTERVAL)
    await pull
    return [*seen, progress.finish(seen[-1])]


async def collected(node: Connection, image: Image) -> None:
    """Wait until containerd has collected the content of *image*."""

    async def nothing() -> bool:
        return not await node.present(image)

    await until(nothing, timeout=TIMEOUT, what="garbage collection")


async def removed(node: Connection, maker: ImageMaker, refs: Sequence[str]) -> None:
    """Remove *refs*, and see by an image that nobody pinned that containerd has collected its garbage."""
    witness = await maker.make_random("witness", 1000)
    await node.cri.pull_image(witness.ref, timeout=TIMEOUT)
    for ref in (*refs, witness.ref):
        await node.cri.remove_image(ref)
    await collected(node, witness)


def blob_requests(registry: FaultyRegistry, image: Image) -> int:
    """How many layers and configs of the image's repository were fetched so far."""
    return len(registry.requests(f"/{image.repository}/blobs/"))


@pytest.mark.slow
async def test_a_pull_of_200_mb_is_seen_live(
    node: Connection, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    image = await faulty_image_maker.make_random("app", 120 * MB, 60 * MB, 20 * MB)
    faulty_registry.go_wrong(throttle(25 * MB))

    seen = await watched(node, image)

    percents = [now.percent for now in seen]
    assert percents == sorted(percents)
    assert len(set(percents)) > 20
    halfway = next(now for now in seen if now.percent >= 50)
    average = halfway.done / (halfway.at - halfway.began)  # A busy machine may not reach the throttle's rate.
    assert halfway.rate == pytest.approx(average, rel=0.5)
    assert halfway.seconds_left == pytest.approx((image.size - halfway.done) / average, rel=0.5)
    assert {each.state for each in halfway.layers} <= {"fetching", "fetched"}
    assert (seen[-1].percent, seen[-1].done, seen[-1].reused) == (100, image.size, 0)


async def test_a_pull_of_unknown_layers_is_seen_live(
    node: Connection, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    image = await faulty_image_maker.make_random("app", 20 * MB, 10 * MB)
    faulty_registry.go_wrong(throttle(30 * MB))

    seen = await watched(node, image, known=False)

    assert len({now.percent for now in seen}) > 3
    assert seen[-1].done >= image.size
    assert {layer.digest for layer in image.layers} <= {layer.digest for layer in seen[-1].layers}


async def test_the_next_version_fetches_only_its_new_layer(
    node: Connection, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    maker = faulty_image_maker
    shared, changed = random_layer(f"{maker.prefix}/shared", 9 * MB), random_layer(maker.prefix, 3 * MB)
    first = await maker.make("app", [shared, random_layer(f"{maker.prefix}/old", MB)])
    second = await maker.make("app", [shared, changed], tags=("v2",))
    await node.cri.pull_image(first.ref, timeout=TIMEOUT)

    seen = await watched(node, second)

    assert seen[0].reused == shared.size
    assert [layer.state for layer in seen[-1].layers] == ["reused", "fetched"]
    assert (seen[-1].done, seen[-1].total) == (changed.size, changed.size)
    assert faulty_registry.bytes_of(shared.digest) == shared.size


async def test_a_released_pull_leaves_nothing_half_done(
    node: Connection, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    image = await faulty_image_maker.make_random("app", 5 * MB, 3 * MB)
    mine = {layer.digest for layer in image.layers}
    faulty_registry.go_wrong(hold(AFTER))
    pull = asyncio.create_task(node.cri.pull_image(image.ref, timeout=TIMEOUT))

    async def fetching() -> bool:
        return sum(ingest.digest in mine and ingest.done > 0 for ingest in await node.extras.ingests()) == 2

    await until(fetching, timeout=TIMEOUT, what="both layers under way")
    pull.cancel()
    await asyncio.wait([pull])

    await node.extras.release(mine)

    assert mine.isdisjoint(ingest.digest for ingest in await node.extras.ingests())
    faulty_registry.recover()
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)
    assert await node.present(image) == mine


async def test_a_release_leaves_other_pulls_alone(
    node: Connection, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    kept = await faulty_image_maker.make_random("kept", 3 * MB)
    faulty_registry.go_wrong(hold(AFTER))
    pull = asyncio.create_task(node.cri.pull_image(kept.ref, timeout=TIMEOUT))

    async def fetching() -> bool:
        return any(ingest.digest == kept.layers[0].digest for ingest in await node.extras.ingests())

    await until(fetching, timeout=TIMEOUT, what="the layer under way")
    await node.extras.release([random_layer("another", 1000).digest])
    faulty_registry.recover()

    await pull
    assert await node.present(kept) == {kept.layers[0].digest}


async def test_each_containerd_pins_in_its_own_way(
    node: Connection, by_label: bool, image_maker: ImageMaker
) -> None:
    image = await image_maker.make_random("app", 1000)
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)

    await node.extras.pin(image.ref)

    assert node.extras.capabilities == Capabilities("bytes", "label" if by_label else "lease")
    assert await node.is_pinned(image.ref) == by_label
    assert image.ref in await node.extras.pinned()
    await node.extras.unpin(image.ref)
    await node.until_unpinned(image.ref)
    assert image.ref not in await node.extras.pinned()


@pytest.mark.parametrize("form", ["tag", "digest", "id"])
async def test_an_image_is_pinned_by_any_of_its_names(
    node: Connection, by_label: bool, image_maker: ImageMaker, form: str
) -> None:
    image = await image_maker.make_random("app", 1000)
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)
    ref = {"tag": image.ref, "digest": image.by_digest, "id": image.config_digest}[form]

    await node.extras.pin(ref)

    assert ref in await node.extras.pinned()
    assert await node.is_pinned(image.config_digest) == by_label
    await node.extras.unpin(ref)
    assert ref not in await node.extras.pinned()


async def test_a_pin_outlives_another_pull_of_the_same_tag(
    node: Connection, by_label: bool, image_maker: ImageMaker
) -> None:
    image = await image_maker.make_random("app", 1000)
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)
    await node.extras.pin(image.ref)

    await node.cri.pull_image(image.ref, timeout=TIMEOUT)

    assert image.ref in await node.extras.pinned()
    assert await node.is_pinned(image.ref) == by_label
    await node.extras.unpin(image.ref)


async def test_a_pin_follows_its_tag_to_the_image_that_was_pushed_anew(
    node: Connection, by_label: bool, image_maker: ImageMaker
) -> None:
    old = await image_maker.make_random("app", 1000)
    await node.cri.pull_image(old.ref, timeout=TIMEOUT)
    await node.extras.pin(old.ref)
    new = await image_maker.make("app", [random_layer(image_maker.prefix, 2000)])
    await node.cri.pull_image(new.ref, timeout=TIMEOUT)

    await node.extras.pin(new.ref)

    assert await node.is_pinned(new.config_digest) == by_label
    await node.until_unpinned(old.config_digest)
    await node.extras.unpin(new.ref)
    await removed(node, image_maker, [new.ref, old.config_digest])
    assert await node.present(old) == await node.present(new) == frozenset()


async def test_pins_outlive_both_processes(
    own_containerd: Containerd, by_label: bool, image_maker: ImageMaker
) -> None:
    image = await image_maker.make_random("app", 1000)
    async with connecting(own_containerd) as before:
        await before.cri.pull_image(image.ref, timeout=TIMEOUT)
        await before.extras.pin(image.ref)
    await own_containerd.restart()

    async with connecting(own_containerd) as after:
        assert await after.extras.pinned() == {image.ref}
        assert await after.is_pinned(image.ref) == by_label
        await after.extras.unpin(image.ref)
        assert await after.extras.pinned() == frozenset()
        await after.until_unpinned(image.ref)


async def test_content_outlives_its_image_where_a_lease_pins(
    node: Connection, by_label: bool, image_maker: ImageMaker
) -> None:
    image = await image_maker.make_random("app", 1000, 2000)
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)
    await node.extras.pin(image.ref)

    await removed(node, image_maker, [image.ref])

    kept = await node.present(image)
    assert kept == (frozenset() if by_label else {layer.digest for layer in image.layers})
    await node.extras.unpin(image.ref)
    assert await node.present(image) == frozenset()
    assert image.ref not in await node.extras.pinned()


@pytest.mark.parametrize("form", ["one platform", "several platforms"])
async def test_a_leased_image_comes_back_without_a_byte_of_it(
    node: Connection, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker, form: str
) -> None:
    image = await faulty_image_maker.store("app", several_layers(faulty_image_maker.prefix, form))
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)
    fetched = blob_requests(faulty_registry, image)
    pins = await leased(node, image)

    await removed(node, faulty_image_maker, [image.ref])
    gone = await node.cri.image_status(image.ref)
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)

    assert gone is None
    assert fetched == 3  # the config and two layers, of one platform
    assert blob_requests(faulty_registry, image) == fetched
    await pins.unpin(image.ref)


async def test_without_a_pin_the_image_is_fetched_again(
    node: Connection, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    image = await faulty_image_maker.store("app", several_layers(faulty_image_maker.prefix, "one platform"))
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)
    pins = await leased(node, image)
    await pins.unpin(image.ref)

    await removed(node, faulty_image_maker, [image.ref])
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)

    assert blob_requests(faulty_registry, image) == 6


async def test_a_lease_holds_the_snapshots_too(node: Connection, image_maker: ImageMaker) -> None:
    image = await image_maker.store("app", several_layers(image_maker.prefix, "several platforms"))
    await node.cri.pull_image(image.ref, timeout=TIMEOUT)
    pins = await leased(node, image)

    await removed(node, image_maker, [image.ref])

    layers = image.build.parts[0].layers
    snapshots = await node.containerd.ctr("snapshots", "list")
    assert chain_id([layer.diff_id for layer in layers]) in snapshots
    await pins.unpin(image.ref)


async def test_another_service_than_containerds_is_unsupported(node: Connection) -> None:
    method: UnaryUnaryMethod[Empty, Empty] = UnaryUnaryMethod(
        node.channel.stub(lambda wire: wire), "/example.services.Nothing/Ask", Empty, Empty
    )

    with pytest.raises(UnsupportedError):
        await node.channel.call(method, Empty(), timeout=TIMEOUT)


def several_layers(seed: str, form: str) -> Build:
    """A build of two layers, for this machine's platform alone or for another one too."""

    def made(platform: Platform) -> Build:
        layers = [random_layer(f"{seed}/{platform.architecture}/{number}", 2000) for number in range(2)]
        return build(layers, platform=platform)

    here = made(Platform())
    return here if form == "one platform" else build_index([here, made(Platform("arm64"))])


async def leased(node: Connection, image: Image) -> LeasePins:
    """Pin *image* by lease, also where the extras would not."""
    status = await node.cri.image_status(image.ref)
    assert status is not None
    snapshotter = snapshotter_of(await node.cri.image_fs_info())
    held = await holdings(ContentStore(node.channel), image.digest, status.id, snapshotter)
    pins = LeasePins(node.channel)
    await pins.pin(image.ref, held)
    return pins
