"""Sealed secrets are there when a node is asked, follow their sources, and go when no job needs them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from structlog.testing import capture_logs

from daemon.engine.objects import NotFoundError, ObjectsError
from daemon.objects.images import AgentStatus, ImagePullJob, NodeImage, Secret
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.sealing import SealingKey, box_name
from daemon.pulljobs.reconciler import JobObjects, PullJobs, Surroundings
from daemon.pulljobs.sealing import Sealer, SealObjects
from daemon.store.records import Stored
from tests.fakes.clock import LoopClock
from tests.fakes.objects import MemoryStore
from tests.functional.pulljob_world import KEPT, SOON, World, a_job

pytestmark = pytest.mark.looptime

SEALED = "inplaced-node-secrets"
SOURCE = Key("default", "creds")


def docker(password: str) -> str:
    config = {"auths": {"registry.test": {"username": "ada", "password": password}}}
    return base64.b64encode(json.dumps(config).encode()).decode()


class Sealed(World):
    """The world of jobs, with secrets that are sealed for agents."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(LoopClock()))
        self.secrets = self.store.objects(Secret)
        self.keys: dict[str, SealingKey] = {}
        self.reads = 0
        self.unreadable = False
        self.said: list[tuple[str, str]] = []

    def announce(self, job: object, reason: str, note: str, *, warning: bool) -> None:
        assert isinstance(job, ImagePullJob)
        if warning:
            self.said.append((job.metadata.name, f"{reason}: {note}"))

    async def read(self, key: Key) -> Secret:
        self.reads += 1
        if self.unreadable:
            raise ObjectsError("forbidden")
        found = self.secrets.get(key)
        if found is None:
            raise NotFoundError(str(key))
        return found

    @asynccontextmanager
    async def sealing(self) -> AsyncIterator[None]:
        clock = LoopClock()
        sealer = Sealer(
            SealObjects(self.nodes, self.jobs, self.secrets, SEALED, self.read),
            self.metrics,
            clock,
            announce=self.announce,
        )
        objects = JobObjects(self.jobs, self.lists, self.nodes)
        around = Surroundings(announce=self.announce, prepare=sealer.prepare)
        jobs = PullJobs(objects, self.metrics, clock, default_ttl=KEPT, around=around)
        controllers = (jobs.controller, jobs.specs.controller, sealer.controller, sealer.sources.controller)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each.run()) for each in controllers]
            jobs.watch()
            sealer.watch()
            await asyncio.sleep(SOON)
            yield
            for task in tasks:
                task.cancel()

    async def add_agent(self, name: str = "n1") -> None:
        await self.add_node(name)
        await self.new_key(name)

    async def new_key(self, name: str = "n1") -> None:
        self.keys[name] = SealingKey.new()
        image = self.node(name)
        agent = AgentStatus(version="1", public_key=self.keys[name].public)
        status = msgspec.structs.replace(image.status, agent=agent)
        await self.nodes.replace_status(msgspec.structs.replace(image, status=status))

    async def put_source(self, password: str) -> None:
        data = {".dockerconfigjson": docker(password)}
        stored = self.secrets.get(SOURCE)
        metadata = stored.metadata if stored else ObjectMeta(name=SOURCE.name, namespace=SOURCE.namespace)
        made = Secret(metadata=metadata, type="kubernetes.io/dockerconfigjson", data=data)
        await (self.secrets.replace(made) if stored else self.secrets.create(made))

    def password(self, node: str = "n1", reader: str = "") -> str | None:
        stored = self.secrets.get(Key(SEALED, node))
        box = stored.data.get(box_name(SOURCE)) if stored is not None else None
        if box is None:
            return None
        found = self.keys[reader or node].open(box)
        config = json.loads(base64.b64decode(found.data[".dockerconfigjson"]))
        return str(config["auths"]["registry.test"]["password"])


@pytest.fixture
async def world() -> AsyncIterator[Sealed]:
    with capture_logs():
        made = Sealed()
        await made.nodes.create(NodeImage(metadata=ObjectMeta(name="n1")))
        await made.new_key("n1")
        await made.put_source("first")
        yield made


async def test_the_secret_is_there_before_the_node_is_asked(world: Sealed) -> None:
    async with world.sealing():
        world.store.writes.clear()
        await world.add(a_job("a", pull_secrets=("creds",)))

    order = [write for write in world.store.writes if "NodeImage" in write or SEALED in write]
    assert order == [f"create Secret {SEALED}/n1", "replace NodeImage n1"]
    assert world.password() == "first"


async def test_only_nodes_that_need_a_secret_have_it(world: Sealed) -> None:
    await world.add_agent("n2")

    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",), parallelism=1), a_job("b", parallelism=9))

    assert world.password("n1") == "first"
    assert world.secrets.get(Key(SEALED, "n2")) is None


async def test_a_source_that_changes_is_sealed_anew(world: Sealed) -> None:
    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",)))
        await world.put_source("second")
        await asyncio.sleep(SOON)

        assert world.password() == "second"


async def test_an_agent_with_a_new_key_can_read_its_secret_again(world: Sealed) -> None:
    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",)))
        await world.new_key()
        await asyncio.sleep(SOON)

        assert world.password() == "first"


async def test_an_agent_that_comes_later_gets_its_secret_then(world: Sealed) -> None:
    await world.add_node("n0")

    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",)))
        before = world.secrets.get(Key(SEALED, "n0"))
        await world.new_key("n0")
        await asyncio.sleep(SOON)

        assert before is None
        assert world.password("n0") == "first"


@pytest.mark.parametrize("way", ["ended", "deleted"])
async def test_a_secret_goes_with_the_last_job_that_needs_it(world: Sealed, way: str) -> None:
    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",)))
        there = world.password()
        if way == "ended":
            await world.end()
        else:
            await world.jobs.delete(world.job("a"))
            await asyncio.sleep(SOON)

        assert there == "first"
        assert world.secrets.get(Key(SEALED, "n1")) is None


async def test_a_secret_that_was_left_behind_is_removed_by_the_next_process(world: Sealed) -> None:
    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",)))
    await world.jobs.delete(world.job("a"))

    async with world.sealing():
        pass

    assert world.secrets.get(Key(SEALED, "n1")) is None


async def test_what_is_sealed_already_is_not_written_again(world: Sealed) -> None:
    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",)))
    world.store.writes.clear()

    async with world.sealing():
        await asyncio.sleep(100)

    assert world.store.writes == []


async def test_many_nodes_cost_one_read_of_a_source(world: Sealed) -> None:
    for number in range(20):
        await world.add_agent(f"m{number:02}")

    async with world.sealing():
        world.reads = 0
        await world.jobs.create(a_job("a", pull_secrets=("creds",), parallelism="100%"))
        await asyncio.sleep(1)

    assert world.reads == 1


async def test_nobody_reads_what_no_job_needs(world: Sealed) -> None:
    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",)))
        await world.end()
        await asyncio.sleep(SOON)
        world.reads = 0
        await asyncio.sleep(100)

    assert world.reads == 0


@pytest.mark.parametrize("way", ["missing", "unreadable"])
async def test_a_secret_that_cannot_be_had_is_told_once_and_holds_nothing_up(world: Sealed, way: str) -> None:
    world.unreadable = way == "unreadable"
    name = "creds" if way == "unreadable" else "gone"

    async with world.sealing():
        await world.add(a_job("a", pull_secrets=(name,)))
        await asyncio.sleep(100)

    assert list(world.tags()) == ["registry.test/a:v1"]
    assert [reason.partition(":")[0] for _, reason in world.said] == ["PullSecretNotFound"]


async def test_a_namespace_that_may_not_be_written_holds_nothing_up(world: Sealed) -> None:
    def before(write: str, _obj: Stored) -> None:
        if SEALED in write:
            raise ObjectsError("forbidden")

    world.store.before = before

    async with world.sealing():
        await world.add(a_job("a", pull_secrets=("creds",)))

    assert list(world.tags()) == ["registry.test/a:v1"]
