"""Edits of nodes' specs go in few writes, and none is lost, whatever the writes answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

import pytest
from structlog.testing import capture_logs

from daemon.engine.objects import ConflictError, InvalidError
from daemon.metrics import Metrics
from daemon.objects.images import ImageEntry, ImageTag, NodeImage, NodeImageSpec
from daemon.objects.meta import Key, ObjectMeta, OwnerReference
from daemon.pulljobs.specs import Edit, Edits, NodeSpecs, Outcomes
from daemon.store.records import Stored
from tests.fakes.clock import LoopClock
from tests.fakes.objects import MemoryStore

pytestmark = pytest.mark.looptime


class Desk:
    """The writer at work over objects in memory, and what it told of its edits."""

    def __init__(self) -> None:
        self.store = MemoryStore(LoopClock())
        self.nodes = self.store.objects(NodeImage)
        self.settled: list[tuple[str, list[str]]] = []
        self.refused: list[tuple[str, str]] = []
        self.specs = NodeSpecs(
            self.nodes, Metrics(), LoopClock(), Outcomes(settled=self._settle, refused=self._refuse)
        )

    def _settle(self, node: str, edits: Edits) -> None:
        self.settled.append((node, sorted(edits)))

    def _refuse(self, node: str, uid: str, _message: str) -> None:
        self.refused.append((node, uid))

    async def add_node(self, name: str = "n1") -> None:
        await self.nodes.create(NodeImage(metadata=ObjectMeta(name=name)))

    def images(self, name: str = "n1") -> list[str]:
        found = self.nodes.get(Key("", name))
        assert found is not None
        return sorted(found.spec.images)

    def writes(self) -> int:
        return sum(write.startswith("replace ") for write in self.store.writes)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    with capture_logs():
        task = asyncio.create_task(made.specs.controller.run())
        await made.add_node()
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def with_image(name: str, owner: str = "") -> Edit:
    owners = (OwnerReference(kind="ImagePullJob", name=owner, uid=owner),) if owner else ()
    entry = ImageEntry(tags=(ImageTag(tag="1", owner_references=owners),))

    def edit(node_image: NodeImage, *, among: Collection[str]) -> NodeImageSpec:
        return NodeImageSpec(images={**node_image.spec.images, name: entry})

    return edit


def empty(node_image: NodeImage, *, among: Collection[str]) -> NodeImageSpec:
    return NodeImageSpec()


def breaking(error: BaseException, times: int) -> Callable[[str, Stored], None]:
    left = times

    def before(write: str, _obj: Stored) -> None:
        nonlocal left
        if write.startswith("replace ") and left > 0:
            left -= 1
            raise error

    return before


async def test_the_first_edit_does_not_wait(desk: Desk) -> None:
    desk.specs.change("n1", "u1", with_image("a"))
    await asyncio.sleep(0.001)

    assert desk.images() == ["a"]


async def test_what_is_wanted_at_once_goes_in_one_write(desk: Desk) -> None:
    for number in range(100):
        desk.specs.change("n1", f"u{number}", with_image(f"a{number}"))
    await asyncio.sleep(1)

    assert len(desk.images()) == 100
    assert desk.writes() == 1


async def test_what_comes_bit_by_bit_goes_in_few_writes(desk: Desk) -> None:
    for number in range(100):
        desk.specs.change("n1", f"u{number}", with_image(f"a{number}"))
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)

    assert len(desk.images()) == 100
    assert desk.writes() <= 7


async def test_what_comes_during_a_write_goes_in_the_next(desk: Desk) -> None:
    desk.store.open.clear()
    desk.specs.change("n1", "u0", with_image("a0"))
    await asyncio.sleep(1)
    for number in range(1, 10):
        desk.specs.change("n1", f"u{number}", with_image(f"a{number}"))
    desk.store.open.set()
    await asyncio.sleep(1)

    assert len(desk.images()) == 10
    assert desk.writes() == 2


async def test_nodes_do_not_wait_for_each_other(desk: Desk) -> None:
    await desk.add_node("n2")
    desk.store.before = breaking(ConflictError(), 3)

    desk.specs.change("n1", "u1", with_image("a"))
    desk.specs.change("n2", "u1", with_image("a"))
    await asyncio.sleep(5)

    assert desk.images("n1") == desk.images("n2") == ["a"]


async def test_the_last_word_of_a_job_counts(desk: Desk) -> None:
    desk.specs.change("n1", "u1", with_image("a"))
    desk.specs.change("n1", "u1", with_image("b"))
    await asyncio.sleep(1)

    assert desk.images() == ["b"]


async def test_an_edit_that_changes_nothing_is_not_written_and_settled(desk: Desk) -> None:
    desk.specs.change("n1", "u1", empty)
    await asyncio.sleep(1)

    assert desk.writes() == 0
    assert desk.settled == [("n1", ["u1"])]


@pytest.mark.parametrize("error", [ConflictError(), OSError(28, "No space left on device")])
async def test_what_could_not_be_written_is_written_later(desk: Desk, error: Exception) -> None:
    desk.store.before = breaking(error, 4)

    desk.specs.change("n1", "u1", with_image("a"))
    desk.specs.change("n1", "u2", with_image("b"))
    await asyncio.sleep(0.001)
    desk.specs.change("n1", "u2", with_image("c"))
    await asyncio.sleep(5)

    assert desk.images() == ["a", "c"]
    assert desk.settled == [("n1", ["u1", "u2"])]


async def test_an_edit_of_a_node_that_left_is_settled(desk: Desk) -> None:
    desk.specs.change("gone", "u1", with_image("a"))
    await asyncio.sleep(1)

    assert desk.writes() == 0
    assert desk.settled == [("gone", ["u1"])]


async def test_a_node_that_leaves_during_the_write_is_no_error(desk: Desk) -> None:
    node = desk.nodes.get(Key("", "n1"))
    assert node is not None
    desk.store.open.clear()
    desk.specs.change("n1", "u1", with_image("a"))
    await asyncio.sleep(1)

    desk.store.ledger.delete(node)
    desk.store.open.set()
    await asyncio.sleep(1)

    assert desk.settled == [("n1", ["u1"])]


async def test_an_edit_is_told_where_its_job_owns_something(desk: Desk) -> None:
    for uid, name in (("u1", "a"), ("u2", "b")):
        desk.specs.change("n1", uid, with_image(name, owner=uid))
    await asyncio.sleep(1)
    told: dict[str, Collection[str]] = {}

    for uid in ("u1", "u3"):

        def edit(node_image: NodeImage, *, among: Collection[str], uid: str = uid) -> NodeImageSpec:
            told[uid] = set(among)
            return node_image.spec

        desk.specs.change("n1", uid, edit)
    await asyncio.sleep(1)

    assert told == {"u1": {"a"}, "u3": set()}


async def test_an_edit_that_can_never_be_stored_harms_no_other(desk: Desk) -> None:
    def before(write: str, obj: Stored) -> None:
        if write.startswith("replace ") and isinstance(obj, NodeImage) and "bad" in obj.spec.images:
            raise InvalidError("spec.images: too many")

    desk.store.before = before

    for uid, name in (("u1", "a"), ("u2", "bad"), ("u3", "c")):
        desk.specs.change("n1", uid, with_image(name))
    await asyncio.sleep(1)

    assert desk.images() == ["a", "c"]
    assert desk.refused == [("n1", "u2")]
    assert [uid for _, uids in desk.settled for uid in uids] == ["u1", "u3"]
