"""Progress and pins over the wire, against fakes of containerd old and new."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from grpclib.const import Status

from daemon import names
from daemon.cri.channel import Channel
from daemon.cri.containerd.extras import connect_extras
from daemon.cri.containerd.leases import lease_id
from daemon.cri.errors import CallFailedError, RuntimeDownError
from daemon.cri.extras import Capabilities, ImageExtras, Ingest
from daemon.cri.manifests import chain_id
from daemon.cri.v1 import runtime_pb2 as pb
from tests.fakes.containerd import Served, serving_containerd
from tests.fakes.holdings import digest_of

REF = "registry.test/app:v1"
OTHER = "registry.test/app:v2"
LAYERS = (digest_of("layer 1"), digest_of("layer 2"))
DIFF_IDS = (digest_of("diff 1"), digest_of("diff 2"))


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[Served]:
    """Reports labelled images as pinned."""
    async with serving_containerd(tmp_path / "cri.sock") as served:
        yield served


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Served]:
    """Does not."""
    async with serving_containerd(tmp_path / "cri.sock", pins_by_label=False) as served:
        yield served


@pytest.fixture
async def channels() -> AsyncIterator[list[Channel]]:
    opened: list[Channel] = []
    yield opened
    for channel in opened:
        await channel.close()


class Connect:
    """Connects as the agent does when it finds a runtime; again, as after a crash."""

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = channels

    async def __call__(self, served: Served) -> ImageExtras:
        channel = Channel(str(served.runtime.path))
        self._channels.append(channel)
        return await connect_extras(channel, served.node.name, served.node.version)


@pytest.fixture
def connect(channels: list[Channel]) -> Connect:
    return Connect(channels)


def put(served: Served, ref: str = REF) -> pb.Image:
    """Have the image of *ref* on the node, its documents in the content store."""
    image = served.node.offered.get(ref) or served.node.offer(ref)
    served.node.PullImage(pb.PullImageRequest(image=pb.ImageSpec(image=ref)))
    served.containerd.blobs[target_of(image)] = manifest(image.id, LAYERS)
    served.containerd.blobs[image.id] = config(DIFF_IDS)
    return image


def move(served: Served, ref: str, image: pb.Image) -> None:
    """Have *ref* name another image from now on, as a pull of a tag that was pushed anew does."""
    for each in served.node.images.values():
        if ref in each.repo_tags:
            each.repo_tags.remove(ref)
    served.node.images[image.id].repo_tags.append(ref)


def manifest(config_digest: str, layers: Iterable[str]) -> bytes:
    described = [{"digest": layer, "size": 1} for layer in layers]
    return json.dumps({"config": {"digest": config_digest, "size": 1}, "layers": described}).encode()


def config(diff_ids: Iterable[str]) -> bytes:
    return json.dumps({"rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}).encode()


def index(*manifests: str) -> bytes:
    return json.dumps({"manifests": [{"digest": digest, "size": 1} for digest in manifests]}).encode()


def target_of(image: pb.Image) -> str:
    return image.repo_digests[0].rpartition("@")[2]


def contents(*digests: str) -> set[tuple[str, str]]:
    return {("content", digest) for digest in digests}


def snapshot() -> set[tuple[str, str]]:
    return {("snapshots/overlayfs", chain_id(DIFF_IDS))}


async def test_a_runtime_without_these_services_gets_phases_only(new: Served, connect: Connect) -> None:
    put(new)
    new.containerd.refuse["Content.ListStatuses"] = Status.UNIMPLEMENTED

    extras = await connect(new)
    await extras.pin(REF)
    await extras.release([LAYERS[0]])

    assert extras.capabilities == Capabilities("phases", "none")
    assert await extras.pinned() == frozenset()


async def test_a_runtime_that_does_not_answer_is_an_error(tmp_path: Path, channels: list[Channel]) -> None:
    channels.append(Channel(str(tmp_path / "nobody.sock")))

    with pytest.raises(RuntimeDownError):
        await connect_extras(channels[0], "containerd", "2.3.7")


async def test_before_the_first_pin_the_version_tells_how_pins_will_work(
    new: Served, connect: Connect
) -> None:
    new.node.version = "v1.7.11-k3s2"
    by_label = await connect(new)
    new.node.version = "1.6.20~ds1"
    by_lease = await connect(new)
    new.node.name = "embedded"
    unknown = await connect(new)

    assert by_label.capabilities == Capabilities("bytes", "label")
    assert by_lease.capabilities == unknown.capabilities == Capabilities("bytes", "lease")


async def test_what_is_being_fetched_is_seen(new: Served, connect: Connect) -> None:
    extras = await connect(new)
    new.containerd.fetch(f"layer-{LAYERS[0]}", 30, 100)
    new.containerd.fetch(f"config-{LAYERS[1]}", 5, 0)
    new.containerd.fetch("upload-1", 1, 1)

    seen = await extras.ingests()

    assert set(seen) == {Ingest(LAYERS[0], 30, 100), Ingest(LAYERS[1], 5, 0)}


async def test_only_whole_blobs_are_present(new: Served, connect: Connect) -> None:
    extras = await connect(new)
    new.containerd.blobs[LAYERS[0]] = b"whole"
    new.containerd.fetch(f"layer-{LAYERS[1]}", 30, 100)

    assert await extras.present(LAYERS) == {LAYERS[0]}


async def test_only_the_named_blobs_are_released(new: Served, connect: Connect) -> None:
    extras = await connect(new)
    for layer in LAYERS:
        new.containerd.fetch(f"layer-{layer}", 30, 100)

    await extras.release([LAYERS[0], digest_of("not there")])

    assert new.containerd.ingests.keys() == {f"layer-{LAYERS[1]}"}


async def test_a_blob_that_ends_while_it_is_released_is_no_error(new: Served, connect: Connect) -> None:
    extras = await connect(new)
    new.containerd.fetch(f"layer-{LAYERS[0]}", 30, 100)
    new.containerd.refuse["Content.Abort"] = Status.NOT_FOUND

    await extras.release([LAYERS[0]])

    assert "Content.Abort" in new.containerd.calls


async def test_a_pinned_image_is_reported_by_cri(new: Served, connect: Connect) -> None:
    image = put(new)
    extras = await connect(new)

    await extras.pin(REF)

    assert new.node.images[image.id].pinned
    assert extras.capabilities.pins == "label"
    assert await extras.pinned() == {REF}
    assert new.containerd.leases == {}


async def test_an_unpinned_image_has_the_labels_it_had_before(new: Served, connect: Connect) -> None:
    image = put(new)
    new.containerd.label(image.id, {"io.cri-containerd.image": "managed"})
    extras = await connect(new)
    await extras.pin(REF)

    await extras.unpin(REF)

    assert new.containerd.labels(image.id) == {"io.cri-containerd.image": "managed"}
    assert await extras.pinned() == frozenset()


async def test_what_somebody_else_pinned_stays_pinned(new: Served, connect: Connect) -> None:
    image = put(new)
    new.containerd.label(image.id, {names.PINNED_LABEL: names.PINNED_VALUE})
    extras = await connect(new)

    await extras.unpin(REF)
    await extras.pin(REF)
    await extras.unpin(REF)

    assert new.containerd.labels(image.id) == {names.PINNED_LABEL: names.PINNED_VALUE}


async def test_an_image_stays_pinned_until_the_last_reference_is_unpinned(
    new: Served, connect: Connect
) -> None:
    image = put(new)
    extras = await connect(new)
    by_digest = image.repo_digests[0]
    await asyncio.gather(extras.pin(REF), extras.pin(by_digest), extras.pin(image.id))

    await asyncio.gather(extras.unpin(REF), extras.unpin(image.id))

    assert await extras.pinned() == {by_digest}
    assert names.PINNED_LABEL in new.containerd.labels(image.id)
    await extras.unpin(by_digest)
    assert new.containerd.labels(image.id) == {}


async def test_pins_are_found_and_undone_after_a_crash(new: Served, connect: Connect) -> None:
    image = put(new)
    await (await connect(new)).pin(REF)

    after = await connect(new)

    assert await after.pinned() == {REF}
    await after.pin(REF)
    await after.unpin(REF)
    assert new.containerd.labels(image.id) == {}


async def test_pinning_again_writes_nothing(new: Served, connect: Connect) -> None:
    put(new)
    extras = await connect(new)
    await extras.pin(REF)
    new.containerd.calls.clear()

    await extras.pin(REF)

    assert "Images.Update" not in new.containerd.calls


async def test_the_label_of_another_is_put_back_when_it_was_taken(new: Served, connect: Connect) -> None:
    image = put(new)
    extras = await connect(new)
    await extras.pin(REF)
    new.containerd.label(image.id, {names.PINNED_LABEL: ""})

    await extras.pin(REF)

    assert new.node.images[image.id].pinned


async def test_a_pin_follows_its_tag(new: Served, connect: Connect) -> None:
    before, after = put(new), put(new, OTHER)
    extras = await connect(new)
    await extras.pin(REF)
    move(new, REF, after)

    await extras.pin(REF)

    assert new.containerd.labels(before.id) == {}
    assert new.containerd.labels(after.id)[names.PIN_OWNER_LABEL] == REF
    assert await extras.pinned() == {REF}


async def test_an_image_that_is_gone_is_no_error(new: Served, connect: Connect) -> None:
    image = put(new)
    extras = await connect(new)
    await extras.pin("registry.test/never:v1")
    await extras.pin(REF)
    del new.node.images[image.id]

    await extras.pin(REF)
    await extras.unpin(REF)

    assert await extras.pinned() == frozenset()


@pytest.mark.parametrize("call", ["Images.Get", "Images.List", "Images.Update"])
async def test_an_image_that_goes_while_it_is_pinned_is_no_error(
    new: Served, connect: Connect, call: str
) -> None:
    put(new)
    extras = await connect(new)
    new.containerd.before[call] = new.node.images.clear

    await extras.pin(REF)

    assert call in new.containerd.calls
    assert extras.capabilities.pins == "label"
    assert await extras.pinned() == frozenset()


async def test_an_image_that_goes_while_a_lease_is_made_is_no_error(old: Served, connect: Connect) -> None:
    put(old)
    extras = await connect(old)
    await extras.pin(REF)
    await extras.unpin(REF)
    old.containerd.before["Images.Get"] = old.node.images.clear

    await extras.pin(REF)

    assert await extras.pinned() == frozenset()


async def test_images_are_pinned_apart_from_each_other(new: Served, connect: Connect) -> None:
    put(new)
    put(new, OTHER)
    extras = await connect(new)
    await extras.pin(REF)
    await extras.pin(OTHER)

    await extras.unpin(REF)

    assert await extras.pinned() == {OTHER}


async def test_an_image_that_another_tool_brought_is_pinned_by_its_tag(new: Served, connect: Connect) -> None:
    image = put(new)
    new.containerd.unnamed.add(image.id)
    extras = await connect(new)

    await extras.pin(REF)

    assert names.PINNED_LABEL in new.containerd.labels(REF)


async def test_failures_are_errors_of_cri(new: Served, connect: Connect) -> None:
    put(new)
    extras = await connect(new)
    new.containerd.refuse["Images.Update"] = Status.INTERNAL
    new.containerd.refuse["Content.Info"] = Status.UNAVAILABLE

    with pytest.raises(CallFailedError):
        await extras.pin(REF)
    with pytest.raises(RuntimeDownError):
        await extras.present(LAYERS)


async def test_where_labels_do_not_pin_a_lease_holds_all_of_the_image(old: Served, connect: Connect) -> None:
    image = put(old)
    extras = await connect(old)

    await extras.pin(REF)

    assert extras.capabilities.pins == "lease"
    assert await extras.pinned() == {REF}
    assert old.containerd.labels(image.id) == {}
    held = old.containerd.holds(lease_id(REF))
    assert held == contents(target_of(image), image.id, *LAYERS) | snapshot()


async def test_a_lease_is_made_once_and_goes_with_its_pin(old: Served, connect: Connect) -> None:
    put(old)
    extras = await connect(old)
    await extras.pin(REF)
    held = set(old.containerd.holds(lease_id(REF)))

    await extras.pin(REF)

    assert old.containerd.holds(lease_id(REF)) == held
    await extras.unpin(REF)
    await extras.unpin(REF)
    assert old.containerd.leases == {}


async def test_a_lease_outlives_its_image_and_is_found_after_a_crash(old: Served, connect: Connect) -> None:
    image = put(old)
    await (await connect(old)).pin(REF)
    del old.node.images[image.id]

    after = await connect(old)
    await after.pin(REF)

    assert await after.pinned() == {REF}
    await after.unpin(REF)
    assert old.containerd.leases == {}


async def test_a_lease_that_was_left_half_made_is_completed(old: Served, connect: Connect) -> None:
    image = put(old)
    await (await connect(old)).pin(REF)
    old.containerd.resources[lease_id(REF)] = contents(image.id)

    await (await connect(old)).pin(REF)

    assert old.containerd.holds(lease_id(REF)) >= contents(target_of(image), image.id, *LAYERS)


async def test_a_lease_follows_its_tag(old: Served, connect: Connect) -> None:
    before, after = put(old), put(old, OTHER)
    extras = await connect(old)
    await extras.pin(REF)
    move(old, REF, after)

    await extras.pin(REF)

    held = old.containerd.holds(lease_id(REF))
    assert contents(target_of(after), after.id) <= held
    assert held.isdisjoint(contents(target_of(before), before.id))


async def test_of_an_image_for_several_platforms_the_one_on_the_node_is_held(
    old: Served, connect: Connect
) -> None:
    image = put(old)
    blobs, other = old.containerd.blobs, digest_of("another config")
    top, attestation, foreign = digest_of("index"), digest_of("attestation"), digest_of("foreign")
    blobs[top] = index(digest_of("not fetched"), attestation, foreign, target_of(image))
    blobs[attestation], blobs[foreign] = b"{}", manifest(other, [digest_of("foreign layer")])
    old.containerd.targets[image.id] = top
    extras = await connect(old)

    await extras.pin(REF)

    held = old.containerd.holds(lease_id(REF))
    assert held == contents(top, target_of(image), image.id, *LAYERS) | snapshot()


@pytest.mark.parametrize("document", [b"not json", b"[" * 9 * 2**20], ids=["garbage", "far too large"])
async def test_of_an_unreadable_image_the_target_is_held(
    old: Served, connect: Connect, document: bytes
) -> None:
    image = put(old)
    old.containerd.blobs[target_of(image)] = document
    extras = await connect(old)

    await extras.pin(REF)

    assert old.containerd.holds(lease_id(REF)) == contents(target_of(image))


async def test_an_index_within_indexes_without_end_is_given_up(old: Served, connect: Connect) -> None:
    image = put(old)
    old.containerd.blobs[target_of(image)] = index(target_of(image))
    extras = await connect(old)

    await extras.pin(REF)

    assert old.containerd.holds(lease_id(REF)) == contents(target_of(image))


async def test_without_its_configuration_the_content_alone_is_held(old: Served, connect: Connect) -> None:
    image = put(old)
    del old.containerd.blobs[image.id]
    extras = await connect(old)

    await extras.pin(REF)

    assert old.containerd.holds(lease_id(REF)) == contents(target_of(image), image.id, *LAYERS)


async def test_without_the_snapshotters_name_the_content_alone_is_held(old: Served, connect: Connect) -> None:
    image = put(old)
    old.node.mountpoint = "/mnt/images"
    extras = await connect(old)

    await extras.pin(REF)

    assert old.containerd.holds(lease_id(REF)) == contents(target_of(image), image.id, *LAYERS)


async def test_a_label_takes_the_place_of_a_lease_from_before_an_upgrade(
    old: Served, connect: Connect
) -> None:
    image = put(old)
    await (await connect(old)).pin(REF)
    old.containerd.pins_by_label, old.node.version = True, "2.3.7"
    upgraded = await connect(old)

    await upgraded.pin(REF)

    assert old.containerd.leases == {}
    assert old.node.images[image.id].pinned
    assert await upgraded.pinned() == {REF}
