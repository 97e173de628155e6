"""Each field that we read or write, compared with what was made and with what containerd's own client says.

A wrong number in our protos would show here: proto3 takes an unknown field in silence.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.containerd.calls import METADATA, ask
from daemon.cri.containerd.v1 import content_pb2, images_pb2, leases_pb2
from daemon.cri.containerd.v1.content_grpc import ContentStub
from daemon.cri.containerd.v1.images_grpc import ImagesStub
from daemon.cri.containerd.v1.leases_grpc import LeasesStub
from daemon.cri.errors import CallFailedError, NotFoundError
from tests.testbed.containerd import Containerd
from tests.testbed.faults import hold
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.processes import until
from tests.testbed.pushing import Image, ImageMaker

TIMEOUT = 60.0
MIB = 2**20


@pytest_asyncio.fixture
async def channel(containerd: Containerd) -> AsyncIterator[Channel]:
    opened = Channel(str(containerd.socket))
    yield opened
    await opened.close()


async def pulled(channel: Channel, maker: ImageMaker) -> Image:
    image = await maker.make_random("app", 3000, 5000)
    await CriClient(channel).pull_image(image.ref, timeout=TIMEOUT)
    return image


async def test_fields_of_whole_content(channel: Channel, image_maker: ImageMaker) -> None:
    image, stub = await pulled(channel, image_maker), channel.stub(ContentStub)
    layer = image.layers[0]

    info = await ask(channel, stub.Info, content_pb2.InfoRequest(digest=layer.digest))
    request = content_pb2.ReadContentRequest(digest=image.digest)
    parts = await channel.collect(stub.Read, request, timeout=TIMEOUT, metadata=METADATA)
    large = content_pb2.ReadContentRequest(digest=layer.digest)
    halves = await channel.collect(stub.Read, large, timeout=TIMEOUT, metadata=METADATA)

    assert info.info.size == layer.size
    assert b"".join(part.data for part in parts) == b"".join(image.build.manifest.source())
    assert b"".join(half.data for half in halves) == b"".join(layer.blob.source())


async def test_the_parts_of_large_content_say_where_they_belong(
    channel: Channel, image_maker: ImageMaker
) -> None:
    image, stub = await image_maker.make_random("app", 3 * MIB), channel.stub(ContentStub)
    await CriClient(channel).pull_image(image.ref, timeout=TIMEOUT)

    request = content_pb2.ReadContentRequest(digest=image.layers[0].digest)
    parts = await channel.collect(stub.Read, request, timeout=TIMEOUT, metadata=METADATA)

    sizes = [len(part.data) for part in parts]
    assert len(parts) > 1
    assert [part.offset for part in parts] == [sum(sizes[:number]) for number in range(len(parts))]


async def test_fields_of_content_that_is_being_fetched(
    channel: Channel,
    containerd: Containerd,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
) -> None:
    image, stub = await faulty_image_maker.make_random("app", 5 * MIB), channel.stub(ContentStub)
    layer = image.layers[0]
    faulty_registry.go_wrong(hold(3 * MIB, layer.digest))
    pull = asyncio.create_task(CriClient(channel).pull_image(image.ref, timeout=TIMEOUT))
    seen: dict[str, content_pb2.Status] = {}

    async def held() -> bool:
        reply = await ask(channel, stub.ListStatuses, content_pb2.ListStatusesRequest())
        seen.update({status.ref: status for status in reply.statuses})
        return any(status.offset >= 2 * MIB for status in seen.values())

    await until(held, timeout=TIMEOUT, what="two MiB")
    told = await containerd.ctr("content", "active")
    faulty_registry.recover()
    await pull

    ref = f"layer-{layer.digest}"
    assert (seen[ref].ref, seen[ref].total) == (ref, layer.size)
    assert 2 * MIB <= seen[ref].offset <= 3 * MIB
    assert ref in told


async def test_an_aborted_ingest_is_gone(
    channel: Channel,
    containerd: Containerd,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
) -> None:
    image, stub = await faulty_image_maker.make_random("app", 5 * MIB), channel.stub(ContentStub)
    ref = f"layer-{image.layers[0].digest}"
    faulty_registry.go_wrong(hold(3 * MIB, image.layers[0].digest))
    pull = asyncio.create_task(CriClient(channel).pull_image(image.ref, timeout=TIMEOUT))

    async def listed() -> bool:
        return ref in await containerd.ctr("content", "active")

    await until(listed, timeout=TIMEOUT, what="the ingest")
    pull.cancel()
    await asyncio.wait([pull])

    async def aborted() -> bool:
        try:
            await ask(channel, stub.Abort, content_pb2.AbortRequest(ref=ref))
        except CallFailedError:  # the pull's own writer is still closing: "directory not empty"
            return False
        return True

    await until(aborted, timeout=TIMEOUT, what="the end of the pull's writer")

    assert not await listed()


async def test_fields_of_image_records(
    channel: Channel, containerd: Containerd, image_maker: ImageMaker
) -> None:
    image, stub = await pulled(channel, image_maker), channel.stub(ImagesStub)
    other = await image_maker.make_random("other", 1000)
    await CriClient(channel).pull_image(other.ref, timeout=TIMEOUT)
    key = f"example.test/{image_maker.prefix}"
    record = (await ask(channel, stub.Get, images_pb2.GetImageRequest(name=image.ref))).image

    changed = images_pb2.Image(name=record.name, labels={key: "some value"}, target=record.target)
    mask = FieldMask(paths=[f"labels.{key}"])
    await ask(channel, stub.Update, images_pb2.UpdateImageRequest(image=changed, update_mask=mask))
    request = images_pb2.ListImagesRequest(filters=[f'labels."{key}"'])
    listed = (await ask(channel, stub.List, request)).images
    told = await containerd.ctr("images", "list", f"name=={image.ref}")

    assert (record.name, record.target.digest) == (image.ref, image.digest)
    assert record.labels == {"io.cri-containerd.image": "managed"}
    assert [each.name for each in listed] == [image.ref]
    assert listed[0].labels == {"io.cri-containerd.image": "managed", key: "some value"}
    assert listed[0].target == record.target
    assert f"{key}=some value" in told


async def test_fields_of_leases(channel: Channel, containerd: Containerd, image_maker: ImageMaker) -> None:
    image, stub = await pulled(channel, image_maker), channel.stub(LeasesStub)
    key, id_ = f"example.test/{image_maker.prefix}", f"test-{image_maker.prefix}"
    first, second = (leases_pb2.Resource(type="content", id=layer.digest) for layer in image.layers)

    await ask(channel, stub.Create, leases_pb2.CreateRequest(id=id_, labels={key: "some value"}))
    told = await containerd.ctr("leases", "list", f"id=={id_}")
    request = leases_pb2.ListRequest(filters=[f'labels."{key}"'])
    listed = (await ask(channel, stub.List, request)).leases
    for resource in (first, second):
        await ask(channel, stub.AddResource, leases_pb2.AddResourceRequest(id=id_, resource=resource))
    await ask(channel, stub.DeleteResource, leases_pb2.DeleteResourceRequest(id=id_, resource=first))
    held = (await ask(channel, stub.ListResources, leases_pb2.ListResourcesRequest(id=id_))).resources
    await ask(channel, stub.Delete, leases_pb2.DeleteRequest(id=id_))

    assert id_ in told
    assert f"{key}=some value" in told
    assert [lease.id for lease in listed] == [id_]
    assert listed[0].labels == {key: "some value"}
    assert list(held) == [second]
    assert id_ not in await containerd.ctr("leases", "list")


async def test_a_synchronous_delete_answers_when_the_garbage_is_gone(
    channel: Channel, image_maker: ImageMaker
) -> None:
    image, stub = await pulled(channel, image_maker), channel.stub(LeasesStub)
    cri, content = CriClient(channel), channel.stub(ContentStub)
    id_ = f"test-{image_maker.prefix}"
    resource = leases_pb2.Resource(type="content", id=image.layers[0].digest)
    await ask(channel, stub.Create, leases_pb2.CreateRequest(id=id_))
    await ask(channel, stub.AddResource, leases_pb2.AddResourceRequest(id=id_, resource=resource))
    await cri.remove_image(image.ref)
    kept = await ask(channel, content.Info, content_pb2.InfoRequest(digest=resource.id))

    await ask(channel, stub.Delete, leases_pb2.DeleteRequest(id=id_, sync=True))

    assert kept.info.size == image.layers[0].size
    with pytest.raises(NotFoundError):
        await ask(channel, content.Info, content_pb2.InfoRequest(digest=resource.id))
