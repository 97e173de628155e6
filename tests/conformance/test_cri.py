"""What the client expects of a runtime, asked of the fake and of real ones: so the fake cannot drift."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.errors import ImageNotFoundError, NotFoundError
from daemon.cri.types import POD_UID_LABEL, ContainerState, Resources, Sandbox
from daemon.objects.local_pods import Container, EnvVar
from daemon.restarts.records import record_of
from tests.fakes.runtime import FakeRuntime, serving
from tests.testbed.containerd import Containerd
from tests.testbed.images import busybox_layer
from tests.testbed.pods import Pods
from tests.testbed.pushing import ImageMaker

TIMEOUT = 60.0
MIB = 2**20


@dataclass(frozen=True)
class Made:
    """An image that can be pulled."""

    ref: str
    by_digest: str
    id: str


@dataclass(frozen=True)
class World:
    """A runtime with registries and pods, fake or real."""

    cri: CriClient
    make: Callable[[str], Awaitable[Made]]
    missing: str
    pods: Pods
    rooted: str
    """The images' directory begins like this."""


class CriConformance:
    """Every expectation. Subclasses provide the world."""

    async def test_it_names_itself(self, world: World) -> None:
        version = await world.cri.version()

        assert version.runtime_name == "containerd"
        assert version.runtime_version
        assert version.api_version == "v1"

    async def test_it_reports_whether_it_is_ready(self, world: World) -> None:
        conditions = await world.cri.status()

        assert {each.type: each.ok for each in conditions}["RuntimeReady"] is True

    async def test_it_says_where_images_lie(self, world: World) -> None:
        usage = await world.cri.image_fs_info()

        assert [each.mountpoint.startswith(world.rooted) for each in usage] == [True]

    async def test_a_pulled_image_is_found_by_tag_digest_and_id(self, world: World) -> None:
        made = await world.make("app")

        answered = await world.cri.pull_image(made.ref, timeout=TIMEOUT)

        images = [await world.cri.image_status(ref) for ref in (made.ref, made.by_digest, made.id)]
        assert answered == made.id
        assert [image and image.id for image in images] == [made.id] * 3
        image = images[0]
        assert image is not None
        assert image.repo_tags == (made.ref,)
        assert image.repo_digests == (made.by_digest,)
        assert image.size > 0
        assert image.pinned is False

    async def test_an_image_pulled_by_digest_has_no_tag(self, world: World) -> None:
        made = await world.make("app")

        await world.cri.pull_image(made.by_digest, timeout=TIMEOUT)

        image = await world.cri.image_status(made.by_digest)
        assert image is not None
        assert image.repo_tags == ()
        assert image.repo_digests == (made.by_digest,)

    async def test_pulling_twice_is_harmless(self, world: World) -> None:
        made = await world.make("app")

        first = await world.cri.pull_image(made.ref, timeout=TIMEOUT)
        second = await world.cri.pull_image(made.ref, timeout=TIMEOUT)

        assert first == second

    async def test_a_pull_may_say_for_whom_it_is(self, world: World) -> None:
        made = await world.make("app")
        sandbox = Sandbox(labels={"app": "web"}, annotations={"example.com/why": "ahead"})

        assert await world.cri.pull_image(made.ref, timeout=TIMEOUT, sandbox=sandbox) == made.id

    async def test_an_unknown_image_has_its_own_error(self, world: World) -> None:
        with pytest.raises(ImageNotFoundError, match=r"PullImage: NOT_FOUND: .*not found"):
            await world.cri.pull_image(world.missing, timeout=TIMEOUT)

    async def test_an_absent_image_has_no_status(self, world: World) -> None:
        assert await world.cri.image_status(world.missing) is None

    async def test_listed_images_are_those_that_were_pulled(self, world: World) -> None:
        made = await world.make("app")
        await world.cri.pull_image(made.ref, timeout=TIMEOUT)

        images = await world.cri.list_images()

        assert made.id in {image.id for image in images}

    async def test_a_removed_image_is_gone_and_removing_again_is_no_error(self, world: World) -> None:
        made = await world.make("app")
        await world.cri.pull_image(made.ref, timeout=TIMEOUT)

        await world.cri.remove_image(made.ref)
        await world.cri.remove_image(made.ref)

        assert await world.cri.image_status(made.ref) is None

    async def test_a_running_container_tells_all_about_itself(self, world: World) -> None:
        made = await world.make("app")
        labels, annotations = {POD_UID_LABEL: "uid-1"}, {"io.kubernetes.container.hash": "abc"}
        running = await world.pods.run(
            "app", made.ref, labels=labels, annotations=annotations, memory=64 * MIB
        )

        status = await world.cri.container_status(running.container_id)

        assert status.id == running.container_id
        assert status.name == "app"
        assert status.state is ContainerState.RUNNING
        assert status.labels == labels
        assert status.annotations == annotations
        assert status.image == made.ref
        assert status.created_at is not None
        assert status.started_at is not None
        assert status.created_at <= status.started_at
        assert status.finished_at is None
        assert status.info == {}

    async def test_a_verbose_status_holds_the_runtimes_own_record(self, world: World) -> None:
        made = await world.make("app")
        running = await world.pods.run("app", made.ref, env={"COLOUR": "blue"})

        status = await world.cri.container_status(running.container_id, verbose=True)

        record = json.loads(status.info["info"])
        assert record["pid"] > 0
        assert "COLOUR=blue" in record["runtimeSpec"]["process"]["env"]

    @pytest.mark.parametrize("value", ["blue", "two\nlines", " a=b ", "grün ✓", "", "x" * 32 * 1024, "$(X)"])
    async def test_that_record_tells_variables_and_command_as_they_were_given(
        self, world: World, value: str
    ) -> None:
        made = await world.make("app")
        command = ["sleep", "1000000"]
        running = await world.pods.run("app", made.ref, command, env={"COLOUR": value})

        status = await world.cri.container_status(running.container_id, verbose=True)

        found = record_of(status, Container(name="app", env=(EnvVar(name="X", value="$(COLOUR)"),)))
        assert found.env == {"COLOUR": value}
        assert (found.command, found.is_running) == (tuple(command), True)

    async def test_containers_are_listed_by_what_is_asked(self, world: World) -> None:
        made = await world.make("app")
        one = await world.pods.run("one", made.ref, labels={POD_UID_LABEL: "uid-1", "app": "web"})
        two = await world.pods.run("two", made.ref, labels={POD_UID_LABEL: "uid-2", "app": "web"})

        async def listed(**only: Any) -> set[str]:
            return {container.id for container in await world.cri.list_containers(**only)}

        assert {one.container_id, two.container_id} <= await listed()
        assert await listed(pod_uid="uid-2") == {two.container_id}
        assert await listed(labels={"app": "web"}) == {one.container_id, two.container_id}
        assert await listed(labels={"app": "web"}, pod_uid="uid-1") == {one.container_id}
        assert await listed(container_id=one.container_id) == {one.container_id}
        assert await listed(sandbox_id=two.sandbox_id) == {two.container_id}
        assert await listed(pod_uid="uid-1", state=ContainerState.EXITED) == set()

    async def test_a_stopped_container_has_ended(self, world: World) -> None:
        made = await world.make("app")
        running = await world.pods.run("app", made.ref)

        await world.cri.stop_container(running.container_id, grace=0)

        status = await world.cri.container_status(running.container_id)
        assert status.state is ContainerState.EXITED
        assert status.finished_at is not None
        assert status.exit_code == 137

    async def test_stopping_a_stopped_or_unknown_container_is_no_error(self, world: World) -> None:
        made = await world.make("app")
        running = await world.pods.run("app", made.ref)

        await world.cri.stop_container(running.container_id, grace=0)
        await world.cri.stop_container(running.container_id, grace=0)
        await world.cri.stop_container("0" * 64, grace=0)

    async def test_an_unknown_container_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFoundError):
            await world.cri.container_status("0" * 64)
        with pytest.raises(NotFoundError):
            await world.cri.container_stats("0" * 64)
        with pytest.raises(NotFoundError):
            await world.cri.exec_sync("0" * 64, ["true"], timeout=1)
        with pytest.raises(NotFoundError):
            await world.cri.update_container_resources("0" * 64, Resources(memory_limit=64 * MIB))

    async def test_a_program_runs_inside_a_container(self, world: World) -> None:
        made = await world.make("app")
        running = await world.pods.run("app", made.ref)

        result = await world.cri.exec_sync(running.container_id, ["echo", "hello"], timeout=10)

        assert result.exit_code == 0
        assert b"hello" in result.stdout
        assert result.stderr == b""

    async def test_a_container_says_what_it_uses(self, world: World) -> None:
        made = await world.make("app")
        running = await world.pods.run("app", made.ref, labels={POD_UID_LABEL: "uid-stats"})

        stats = await world.cri.container_stats(running.container_id)
        listed = await world.cri.list_container_stats(pod_uid="uid-stats")

        assert stats.id == running.container_id
        assert stats.name == "app"
        assert stats.cpu_nanoseconds
        assert stats.memory_working_set
        assert [each.id for each in listed] == [running.container_id]

    async def test_updated_resources_are_reported(self, world: World) -> None:
        made = await world.make("app")
        running = await world.pods.run("app", made.ref, memory=64 * MIB)

        await world.cri.update_container_resources(
            running.container_id, Resources(memory_limit=96 * MIB, cpu_shares=512)
        )

        status = await world.cri.container_status(running.container_id)
        if status.resources is not None:  # containerd reports them since 1.7
            assert status.resources.memory_limit == 96 * MIB
            assert status.resources.cpu_shares == 512

    async def test_a_sandbox_is_listed_and_described(self, world: World) -> None:
        made = await world.make("app")
        running = await world.pods.run("app", made.ref, labels={POD_UID_LABEL: "uid-sandbox"})

        listed = await world.cri.list_pod_sandboxes(pod_uid="uid-sandbox")
        status = await world.cri.pod_sandbox_status(running.sandbox_id, verbose=True)

        assert [each.id for each in listed] == [running.sandbox_id]
        assert listed[0].ready is True
        assert listed[0].namespace == "default"
        assert status.sandbox == listed[0]
        assert status.ips == ()
        assert json.loads(status.info["info"])["pid"] > 0

    async def test_an_unknown_sandbox_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFoundError):
            await world.cri.pod_sandbox_status("0" * 64)


class TestFake(CriConformance):
    """The fake."""

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        async with serving(tmp_path / "cri.sock") as runtime:
            place = cast(Containerd, SimpleNamespace(socket=runtime.path, cgroup_parent="/pods"))
            missing = "registry.test/missing:v1"
            async with Pods(place) as pods, Channel(str(runtime.path)) as channel:
                yield World(CriClient(channel), _offering(runtime), missing, pods, "/var/lib/containerd")


class TestContainerd(CriConformance):
    """Each containerd of the test bed."""

    @pytest_asyncio.fixture
    async def world(
        self, containerd: Containerd, image_maker: ImageMaker, pods: Pods
    ) -> AsyncIterator[World]:
        async def make(name: str) -> Made:
            unique = {"MADE_FOR": image_maker.prefix}  # else every test's image would be the same one
            image = await image_maker.make(
                name, [busybox_layer()], command=("sleep", "2147483647"), env=unique
            )
            return Made(image.ref, image.by_digest, image.config_digest)

        missing = image_maker.missing("missing")
        async with Channel(str(containerd.socket)) as channel:
            yield World(CriClient(channel), make, missing, pods, str(containerd.root))


def _offering(runtime: FakeRuntime) -> Callable[[str], Awaitable[Made]]:
    async def make(name: str) -> Made:
        ref = f"registry.test/{name}:v1"
        image = runtime.node.offer(ref)
        return Made(ref, image.repo_digests[0], image.id)

    return make
