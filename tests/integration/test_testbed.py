"""The test bed itself: if it does not do what it says, no test that stands on it means anything."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.errors import UnauthorizedError
from daemon.cri.types import Auth, ContainerState
from tests.testbed import session
from tests.testbed.containerd import Containerd
from tests.testbed.fixtures import PASSWORD, USERNAME
from tests.testbed.images import busybox_layer, random_layer
from tests.testbed.pods import Pods
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry

TIMEOUT = 60.0


@pytest_asyncio.fixture
async def cri(containerd: Containerd) -> AsyncIterator[CriClient]:
    channel = Channel(str(containerd.socket))
    yield CriClient(channel)
    await channel.close()


async def test_a_pulled_image_has_the_digest_and_id_that_were_made(
    cri: CriClient, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 1000, 2000)

    await cri.pull_image(made.ref, timeout=TIMEOUT)

    image = await cri.image_status(made.ref)
    assert image is not None
    assert image.id == made.config_digest
    assert image.repo_digests == (made.by_digest,)


async def test_tags_of_one_image_are_one_image(cri: CriClient, image_maker: ImageMaker) -> None:
    made = await image_maker.make_random("app", 1000, tags=("v1", "v2"))

    await cri.pull_image(f"{made.name}:v1", timeout=TIMEOUT)
    await cri.pull_image(f"{made.name}:v2", timeout=TIMEOUT)

    image = await cri.image_status(made.ref)
    assert image is not None
    assert set(image.repo_tags) == {f"{made.name}:v1", f"{made.name}:v2"}


async def test_a_registry_tells_what_was_fetched(
    cri: CriClient, registry: Registry, image_maker: ImageMaker
) -> None:
    shared, own = random_layer(f"{image_maker.prefix}/shared", 5000), random_layer(image_maker.prefix, 300)
    first = await image_maker.make("first", [shared])
    second = await image_maker.make("second", [shared, own])

    await cri.pull_image(first.ref, timeout=TIMEOUT)
    await cri.pull_image(second.ref, timeout=TIMEOUT)

    fetched = [access for access in registry.accesses(second.repository) if access.method == "GET"]
    blobs = {access.path.rpartition("/")[2]: access.bytes for access in fetched if "/blobs/" in access.path}
    assert own.digest in blobs
    assert shared.digest not in blobs
    assert blobs[own.digest] == own.size


async def test_a_private_registry_wants_the_password(cri: CriClient, private_image_maker: ImageMaker) -> None:
    made = await private_image_maker.make_random("app", 1000)

    with pytest.raises(UnauthorizedError):
        await cri.pull_image(made.ref, timeout=TIMEOUT)
    await cri.pull_image(made.ref, timeout=TIMEOUT, auth=Auth(username=USERNAME, password=PASSWORD))

    assert await cri.image_status(made.ref) is not None


async def test_a_registry_with_tls_is_trusted_through_its_authority(
    cri: CriClient, tls_registry: Registry, prefix: str
) -> None:
    made = await ImageMaker(tls_registry, prefix).make_random("app", 1000)

    await cri.pull_image(made.ref, timeout=TIMEOUT)

    assert made.ref.startswith("registry.test:")
    assert await cri.image_status(made.ref) is not None


async def test_a_chunked_upload_is_what_a_whole_one_is(
    cri: CriClient, registry: Registry, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 3_000_000)

    await registry.pusher(chunk=1_000_000).push(made.build, f"{image_maker.prefix}/chunked", ["v1"])

    ref = f"{registry.host}/{image_maker.prefix}/chunked:v1"
    await cri.pull_image(ref, timeout=TIMEOUT)
    assert (await cri.image_status(ref) or pytest.fail("not there")).id == made.config_digest


async def test_a_container_really_runs(cri: CriClient, pods: Pods, image_maker: ImageMaker) -> None:
    made = await image_maker.make_runnable("app")

    running = await pods.run("app", made.ref, env={"COLOUR": "blue"})

    status = await cri.container_status(running.container_id)
    result = await cri.exec_sync(running.container_id, ["/bin/sh", "-c", "echo $COLOUR"], 10.0)
    assert status.state is ContainerState.RUNNING
    assert result.stdout == b"blue\n"


async def test_nothing_is_left_of_a_stopped_containerd(
    own_containerd: Containerd, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_runnable("app")
    async with Pods(own_containerd) as pods:
        await pods.run("app", made.ref)
    before = session.processes_in(own_containerd.cgroup_parent)

    await own_containerd.stop()

    assert len(before) == 2
    assert before.isdisjoint(session.processes())
    assert not list(session.cgroup_directories(own_containerd.cgroup_parent))
    assert session.mount_points_below(own_containerd.directory) == []
    assert not [line for line in session.processes().values() if str(own_containerd.directory) in line]


async def test_containers_survive_a_killed_containerd(
    own_containerd: Containerd, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_runnable("app")
    async with Pods(own_containerd) as pods:
        running = await pods.run("app", made.ref)
    before = session.processes_in(own_containerd.cgroup_parent)

    await own_containerd.kill()
    await own_containerd.start()

    channel = Channel(str(own_containerd.socket))
    status = await CriClient(channel).container_status(running.container_id)
    await channel.close()
    assert status.state is ContainerState.RUNNING
    assert session.processes_in(own_containerd.cgroup_parent) == before


def test_the_same_seed_makes_the_same_layer_of_about_the_size_asked_for() -> None:
    first, again, other = (
        random_layer("seed", 100_000),
        random_layer("seed", 100_000),
        random_layer("else", 100_000),
    )

    assert first.digest == again.digest != other.digest
    assert 100_000 < first.size < 103_000
    assert sum(map(len, first.blob.source())) == first.size
    assert busybox_layer().size > 500_000
