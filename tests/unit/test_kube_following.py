"""Following, second by second: pauses, patience with WatchList, watches that do not bring our own writes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import structlog

from daemon.kube.client import Listed
from daemon.kube.errors import ApiError, ExpiredError, RefusedError, ServerError
from daemon.kube.following import Follower, OwnWrites
from daemon.kube.resources import IMAGE_PULL_JOBS, Resource
from daemon.kube.selections import EVERYTHING, Selection
from daemon.kube.watching import Change, Changed, Marked
from daemon.metrics import Metrics
from daemon.objects.images import ImagePullJob, ImagePullJobSpec
from daemon.objects.meta import Key, ObjectMeta
from tests.fakes.following import running

Jobs = Sequence[Change[ImagePullJob]]
Script = Jobs | ApiError


def job(name: str, version: int) -> ImagePullJob:
    metadata = ObjectMeta(name=name, namespace="default", uid=name, resource_version=str(version))
    return ImagePullJob(metadata=metadata, spec=ImagePullJobSpec(image="nginx:1"))


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Played:
    """A watch that brings what it was given, and then nothing for ever; without anything it ends."""

    brings: deque[Jobs]
    ends: bool

    async def changes(self) -> list[Change[ImagePullJob]] | None:
        if self.brings:
            return list(self.brings.popleft())
        if not self.ends:
            await asyncio.Event().wait()
        return None


@dataclass
class Scripted:
    """An API server whose watches are written down in advance; the last one is repeated."""

    watches: list[Script]
    listed: Listed[ImagePullJob] = field(default_factory=lambda: Listed((), "1"))
    ends: bool = False
    asked: list[tuple[float, str, str]] = field(default_factory=list)
    """When, what (list, initial, watch), and since which version."""

    async def list(self, _resource: Resource[Any], _selection: Selection) -> Listed[Any]:
        self.asked.append((now(), "list", ""))
        return self.listed

    @asynccontextmanager
    async def watch(
        self, _resource: Resource[Any], _selection: Selection, *, since: str, initial: bool
    ) -> AsyncIterator[Any]:
        self.asked.append((now(), "initial" if initial else "watch", since))
        script = self.watches.pop(0) if len(self.watches) > 1 else self.watches[0]
        if isinstance(script, ApiError):
            raise script
        yield Played(deque([script] if script else []), self.ends)


class Seen:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.kept: list[AbstractSet[Key]] = []

    def put(self, obj: ImagePullJob) -> None:
        self.names.append(obj.metadata.name)

    def drop(self, obj: ImagePullJob) -> None:
        self.names.append(f"-{obj.metadata.name}")

    def keep(self, seen: AbstractSet[Key], version: str) -> None:
        self.kept.append(set(seen))


def follower(source: Scripted, seen: Seen | None = None) -> Follower[ImagePullJob]:
    return Follower(source, IMAGE_PULL_JOBS, EVERYTHING, seen or Seen(), Metrics())


COMPLETE: Jobs = [Changed(job("web", 5)), Marked("7", complete=True)]


@pytest.mark.looptime
async def test_what_hinders_it_is_warned_of_once_an_outage_also_before_the_first_time() -> None:
    refused, away = ServerError("watch", message="no"), ServerError("watch", message="away")
    watched = follower(Scripted([refused, refused, COMPLETE, away, away, COMPLETE], ends=True))

    with structlog.testing.capture_logs() as logged:
        assert watched.problem == ""
        async with running(watched.run()):
            await watched.synced.wait()
            assert watched.problem == ""
            await asyncio.sleep(60.0)

    warned = [each["error"] for each in logged if each["log_level"] == "warning"]
    assert [error.split(" (")[0] for error in warned] == ["watch: no", "watch: away"]


@pytest.mark.looptime
async def test_pauses_double_up_to_a_limit_and_are_never_alike() -> None:
    source = Scripted([ServerError("watch")])

    async with running(follower(source).run()):
        await asyncio.sleep(300.0)

    times = [at for at, _, _ in source.asked]
    pauses = [after - before for before, after in pairwise(times)]
    for number, pause in enumerate(pauses):
        longest = min(0.2 * 2**number, 15.0)
        assert longest / 2 <= pause <= longest + 0.01
    assert len({round(pause, 6) for pause in pauses[8:]}) > 3


@pytest.mark.looptime
async def test_what_expires_again_and_again_is_not_asked_for_without_pause() -> None:
    source = Scripted([ExpiredError("watch")])

    async with running(follower(source).run()):
        await asyncio.sleep(60.0)

    assert len(source.asked) < 15
    assert {what for _, what, _ in source.asked} == {"initial"}


@pytest.mark.looptime
async def test_objects_are_all_known_when_the_server_says_so() -> None:
    seen = Seen()
    watched = follower(Scripted([COMPLETE]), seen)

    async with running(watched.run()):
        await watched.synced.wait()

    assert (seen.names, seen.kept) == (["web"], [{Key("default", "web")}])


@pytest.mark.looptime
async def test_a_server_that_never_says_that_all_was_sent_is_listed_in_the_end() -> None:
    source = Scripted([[Changed(job("web", 5))], []], Listed((job("web", 5),), "9"))
    watched = follower(source)

    async with running(watched.run()):
        await watched.synced.wait()
        took = now()
        await asyncio.sleep(1.0)

    assert [what for _, what, _ in source.asked] == ["initial", "list", "watch"]
    assert 60.0 <= took < 61.0
    assert source.asked[-1][2] == "9"


@pytest.mark.looptime
async def test_a_server_that_refuses_to_stream_is_listed_at_once() -> None:
    source = Scripted([RefusedError("watch"), []])
    watched = follower(source)

    async with running(watched.run()):
        await watched.synced.wait()
        await asyncio.sleep(0.01)
        first = list(source.asked)

    assert [(round(at, 1), what) for at, what, _ in first] == [
        (0.0, "initial"),
        (0.0, "list"),
        (0.0, "watch"),
    ]


@pytest.mark.looptime
async def test_a_watch_that_breaks_before_all_was_sent_starts_over() -> None:
    source = Scripted([[Changed(job("web", 5))], COMPLETE, []], ends=True)
    watched = follower(source)

    async with running(watched.run()):
        await watched.synced.wait()
        await asyncio.sleep(2.0)

    assert [(what, since) for _, what, since in source.asked[:3]] == [
        ("initial", ""),
        ("initial", ""),
        ("watch", "7"),
    ]


@pytest.mark.looptime
async def test_a_watch_that_does_not_bring_our_write_is_begun_anew_and_then_all_is_read() -> None:
    source = Scripted([COMPLETE, [], COMPLETE])
    watched = follower(source)

    async with running(watched.run()):
        await watched.synced.wait()
        watched.expect("8")
        await asyncio.sleep(29.0)
        before = len(source.asked)
        await asyncio.sleep(70.0)

    assert before == 1
    assert [what for _, what, _ in source.asked] == ["initial", "watch", "initial"]
    assert watched.lost_at is None


@pytest.mark.looptime
async def test_a_server_that_is_behind_is_read_ever_more_rarely() -> None:
    source = Scripted([COMPLETE])
    watched = follower(source)

    async with running(watched.run()):
        await watched.synced.wait()
        watched.expect("8")
        await asyncio.sleep(3600.0)

    times = [at for at, _, _ in source.asked]
    pauses = [after - before for before, after in pairwise(times)]
    assert [round(pause, -1) for pause in pauses[:5]] == [30, 60, 120, 240, 300]
    assert max(pauses) <= 305


@pytest.mark.looptime
async def test_a_watch_that_brings_each_write_late_is_no_worse_for_the_writes_since() -> None:
    late: list[float] = []
    writes = OwnWrites(lambda: late.append(now()))

    for version in range(1, 301):
        writes.expect(version, armed=True)
        await asyncio.sleep(1.0)
        writes.arrived(version - 20)

    assert late == []


@pytest.mark.looptime
async def test_a_write_that_does_not_come_is_noticed_though_older_ones_do() -> None:
    late: list[float] = []
    writes = OwnWrites(lambda: late.append(now()))

    for version in range(1, 101):
        writes.expect(version, armed=True)
        await asyncio.sleep(1.0)
        writes.arrived(min(version, 10))

    assert late[0] == pytest.approx(40.0, abs=1.5)


@pytest.mark.looptime
async def test_a_watch_that_brings_our_write_is_left_alone() -> None:
    source = Scripted([[*COMPLETE, Changed(job("web", 8))]])
    watched = follower(source)

    async with running(watched.run()):
        await watched.synced.wait()
        watched.expect("8")
        await asyncio.sleep(120.0)

    assert len(source.asked) == 1
