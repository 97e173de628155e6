"""What became of pulls, said in few events, where those look who want to know."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.nodeimages.telling import Saying, Telling
from daemon.objects.images import (
    ImageEntry,
    ImageStatus,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageSpec,
    NodeImageStatus,
)
from daemon.objects.meta import ObjectMeta, OwnerReference

pytestmark = pytest.mark.looptime

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
JOB = OwnerReference(kind="ImagePullJob", name="web", namespace="shop", uid="u1")
OTHER = OwnerReference(kind="ImagePullJob", name="all", namespace="shop", uid="u2")


class World:
    def __init__(self) -> None:
        self.said: list[Saying] = []
        self.telling = Telling(lambda _node, saying: self.said.append(saying))

    def tell(self, before: NodeImageStatus, **tags: ImageTagStatus) -> NodeImageStatus:
        stored = node(**tags)
        self.telling.on_told(stored, before)
        return stored.status


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    task = asyncio.create_task(made.telling.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


def node(**tags: ImageTagStatus) -> NodeImage:
    owners = {"shared": (JOB, OTHER)}
    entries = {
        name: ImageEntry(tags=(ImageTag(tag="v1", owner_references=owners.get(name, (JOB,))),))
        for name in tags
    }
    return NodeImage(
        metadata=ObjectMeta(name="n1"),
        spec=NodeImageSpec(images=entries),
        status=NodeImageStatus(image_statuses={name: ImageStatus(tags=(tag,)) for name, tag in tags.items()}),
    )


def pulled(**values: Any) -> ImageTagStatus:
    usual = {"start_time": NOON, "completion_time": NOON + timedelta(seconds=3)}
    return ImageTagStatus(tag="v1", phase="Succeeded", **(usual | values))


def failed(message: str = "manifest unknown") -> ImageTagStatus:
    return ImageTagStatus(
        tag="v1",
        phase="Failed",
        reason="ImageNotFound",
        message=message,
        completion_time=NOON,
        failures=4,
    )


async def test_a_pull_is_said_on_the_node(world: World) -> None:
    world.tell(NodeImageStatus(), app=pulled())
    await asyncio.sleep(2)

    assert world.said == [Saying(None, "Normal", "Pulled", "Pulled app:v1 (in 3 s)")]


async def test_what_was_present_is_said_to_have_been(world: World) -> None:
    world.tell(NodeImageStatus(), app=pulled(start_time=None))
    await asyncio.sleep(2)

    assert world.said[0].note == "Pulled app:v1 (was present)"


async def test_many_pulls_are_said_at_once(world: World) -> None:
    before = NodeImageStatus()
    every: dict[str, ImageTagStatus] = {}
    for number in range(9):
        every[f"i{number}"] = pulled()
        before = world.tell(before, **every)
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)

    (said,) = world.said
    assert said.note.startswith("Pulled i0:v1 (in 3 s), i1:v1 (in 3 s), ")
    assert said.note.endswith(" and 4 more")


async def test_pulls_that_end_one_after_the_other_are_said_when_the_last_has(world: World) -> None:
    before = NodeImageStatus()
    every = {f"i{number}": ImageTagStatus(tag="v1", phase="Pulling") for number in range(4)}
    for name in list(every):
        every[name] = pulled()
        before = world.tell(before, **every)
        await asyncio.sleep(2)

    (said,) = world.said
    assert "i0:v1" in said.note
    assert "i3:v1" in said.note


async def test_a_pull_is_said_in_ten_seconds_though_others_go_on(world: World) -> None:
    world.tell(NodeImageStatus(), app=pulled(), big=ImageTagStatus(tag="v1", phase="Pulling"))
    await asyncio.sleep(9)
    early = list(world.said)
    await asyncio.sleep(2)

    assert early == []
    assert [said.note for said in world.said] == ["Pulled app:v1 (in 3 s)"]


async def test_a_failure_is_said_soon_though_others_go_on(world: World) -> None:
    world.tell(NodeImageStatus(), app=failed(), big=ImageTagStatus(tag="v1", phase="Pulling"))
    await asyncio.sleep(2)

    assert [said.reason for said in world.said] == ["PullFailed", "PullFailed"]


async def test_a_failure_is_said_on_the_node_and_on_every_job_that_asked(world: World) -> None:
    world.tell(NodeImageStatus(), shared=failed())
    await asyncio.sleep(2)

    assert [(said.about, said.type, said.reason) for said in world.said] == [
        (about, "Warning", "PullFailed") for about in (None, JOB, OTHER)
    ]
    assert world.said[1].note.startswith("shared:v1: ImageNotFound: manifest unknown after 4 attempts. "), (
        world.said[1].note
    )
    assert "push it" in world.said[1].note


async def test_a_job_hears_of_its_own_failures_only(world: World) -> None:
    world.tell(NodeImageStatus(), app=failed(), shared=failed())
    await asyncio.sleep(2)

    notes = {said.about: said.note for said in world.said}
    assert "app:v1" in notes[JOB]
    assert "app:v1" not in notes[OTHER]
    assert "shared:v1" in notes[OTHER]


async def test_an_end_is_said_once(world: World) -> None:
    before = world.tell(NodeImageStatus(), app=pulled())
    await asyncio.sleep(2)
    world.tell(before, app=pulled(), other=ImageTagStatus(tag="v1", phase="Pulling"))
    await asyncio.sleep(2)

    assert len(world.said) == 1


async def test_another_version_of_the_request_is_said_again(world: World) -> None:
    before = world.tell(NodeImageStatus(), app=pulled())
    await asyncio.sleep(2)
    world.tell(before, app=pulled(version=1))
    await asyncio.sleep(2)

    assert len(world.said) == 2


async def test_a_note_is_short_enough_for_an_event(world: World) -> None:
    world.tell(NodeImageStatus(), **{f"i{number}": failed("x" * 5000) for number in range(20)})
    await asyncio.sleep(2)

    assert max(len(said.note) for said in world.said) <= 1024
