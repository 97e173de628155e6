"""Informers when watches end, versions expire, servers go away, and news come late."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from daemon.kube.informer import Informer
from daemon.kube.resources import IMAGE_PULL_JOBS
from daemon.metrics import Metrics
from daemon.objects.images import ImagePullJob
from daemon.objects.meta import Key
from tests.conformance.objects_contract import new_job, with_desired, with_image
from tests.fakes.apifaults import Fault
from tests.fakes.following import following, running, until
from tests.functional.kube_world import WEB, World, followed_world, world


@pytest_asyncio.fixture
async def here() -> AsyncIterator[World]:
    async with followed_world() as made:
        yield made


def image(here: World, name: str = "web") -> str:
    job = here.informer.get(Key("default", name))
    return job.spec.image if job is not None else ""


def shows(here: World, wanted: str) -> bool:
    return image(here) == wanted


async def cut(here: World) -> None:
    """End the watch and return when the next one is open."""
    opened = here.server.count("watch")
    here.server.cut_watches()
    await here.server.until(lambda: here.server.count("watch") > opened and len(here.server.watchers) == 1)


async def test_watches_that_end_are_taken_up_where_they_ended(here: World) -> None:
    for number in range(3):
        image_now = f"nginx:{number}"
        here.put(image=image_now)
        await until(here.informer, partial(shows, here, image_now))
        await cut(here)

    assert here.readings() == 1
    assert here.restarts("ended") == 3
    assert here.informer.behind == 0.0


async def test_what_happens_between_two_watches_is_not_missed(here: World) -> None:
    here.put("gone")
    await until(here.informer, lambda: image(here, "gone") != "")
    here.server.cut_watches()
    here.put("made")
    here.server.remove("imagepulljobs", "gone", "default")

    await until(here.informer, lambda: image(here, "made") != "" and image(here, "gone") == "")

    assert here.readings() == 1


async def test_all_is_read_again_when_the_server_has_forgotten(here: World) -> None:
    here.put("gone")
    here.put("kept")
    await until(here.informer, lambda: image(here, "kept") != "")
    await here.server.stop()
    here.server.remove("imagepulljobs", "gone", "default")
    here.put("made")
    here.server.storage.compact()
    await here.server.start()

    await until(here.informer, lambda: image(here, "made") != "" and image(here, "gone") == "")

    assert (here.readings(), here.restarts("expired")) == (2, 1)
    assert image(here, "kept") == "nginx:1"


async def test_an_absent_server_is_noticed_and_its_return_too(here: World) -> None:
    await here.server.stop()
    lost = asyncio.Event()

    async def notice() -> None:
        while here.informer.behind == 0.0:  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0.01)
        lost.set()

    async with asyncio.timeout(5), running(notice()):
        await lost.wait()
    since = here.informer.followed_since
    here.put()
    await here.server.start()
    await until(here.informer, lambda: image(here) != "")

    assert here.informer.behind == 0.0
    assert here.informer.followed_since > since


@pytest.mark.parametrize("status", [403, 500])
async def test_a_server_that_refuses_is_not_pressed(status: int) -> None:
    async with world() as here:
        here.server.fail(Fault(status=status, times=1000))
        started = time.monotonic()

        async with running(here.informer.run()):
            await here.server.until(lambda: len(here.server.requests) >= 6)

        # Five pauses, the least of which are 0.1, 0.2, 0.4, 0.8 and 1.6 s.
        assert time.monotonic() - started > 3.0


async def test_watches_that_end_at_once_are_not_begun_without_pause() -> None:
    async with followed_world() as here:
        here.server.brief = True
        started = time.monotonic()
        opened = here.server.count("watch")

        here.server.cut_watches()
        await here.server.until(lambda: here.server.count("watch") >= opened + 5)

        assert time.monotonic() - started > 1.0


async def test_a_server_that_says_when_to_come_back_is_heard(here: World) -> None:
    started = time.monotonic()
    opened = here.server.count("watch")
    here.server.fail(Fault(status=429, verb="watch", retry_after=2))

    here.server.cut_watches()
    await here.server.until(lambda: here.server.count("watch") >= opened + 2)

    assert time.monotonic() - started >= 2.0


async def test_where_nothing_is_streamed_it_is_listed() -> None:
    async with world() as here:
        here.server.streams = False
        here.put()

        async with following(here.informer):
            await cut(here)
            here.put("made")
            await until(here.informer, lambda: image(here, "made") != "")

        assert here.server.count("list") == 1
        assert image(here) == "nginx:1"


async def test_older_news_never_hide_a_newer_write(here: World) -> None:
    here.put()
    await until(here.informer, lambda: image(here) != "")
    old = here.server.document("imagepulljobs", "web", "default")
    here.server.muted = True
    job = here.informer.get(WEB)
    assert job is not None
    written = await here.jobs.replace(with_image(job, "nginx:2"))
    heard: list[ImagePullJob | None] = []
    here.informer.on_change(lambda _before, after: heard.append(after))

    here.server.watchers[0].send("MODIFIED", old)
    here.server.watchers[0].send("DELETED", old)
    here.server.muted = False
    here.put("later")
    await until(here.informer, lambda: image(here, "later") != "")

    assert here.informer.get(WEB) == written
    assert [after.metadata.name for after in heard if after is not None] == ["later"]


async def test_own_writes_are_told_once(here: World) -> None:
    heard: list[tuple[ImagePullJob | None, ImagePullJob | None]] = []
    here.informer.on_change(lambda before, after: heard.append((before, after)))

    made = await here.jobs.create(new_job())
    told = await here.jobs.replace_status(with_desired(made, 5))
    await here.jobs.delete(told)
    here.put("later")
    await until(here.informer, lambda: image(here, "later") != "")

    assert heard[:3] == [(None, made), (made, told), (told, None)]
    assert len(heard) == 4


async def test_an_object_that_was_removed_by_us_does_not_come_back(here: World) -> None:
    made = await here.jobs.create(new_job())
    old = here.server.document("imagepulljobs", "web", "default")
    await here.jobs.delete(made)

    here.server.watchers[0].send("MODIFIED", old)
    here.put("later")
    await until(here.informer, lambda: image(here, "later") != "")

    assert here.informer.get(WEB) is None


async def test_a_line_that_cannot_be_read_does_not_end_the_watch(here: World) -> None:
    here.server.store(
        "imagepulljobs", {"metadata": {"name": "bad", "namespace": "default"}, "spec": {"image": 5}}
    )
    here.put("good")

    await until(here.informer, lambda: image(here, "good") != "")

    assert [job.metadata.name for job in here.informer.list()] == ["good"]
    assert here.server.count("watch") == 1


async def test_a_broken_line_has_the_watch_begun_anew(here: World) -> None:
    here.server.watchers[0].put(b'{"type": "MODIFIED", "obj\n')
    here.put()

    await until(here.informer, lambda: image(here) != "")

    assert here.restarts("failed") == 1


async def test_lines_come_in_any_pieces(here: World) -> None:
    here.server.muted = True
    here.put(image="nginx:1")
    here.put("other", image="x" * 300_000)
    documents = [here.server.document("imagepulljobs", name, "default") for name in ("web", "other")]
    here.server.muted = False
    watcher = here.server.watchers[0]
    whole = b"".join(watcher.line("ADDED", document) for document in documents)

    for start in range(0, len(whole), 70_001):
        watcher.put(whole[start : start + 70_001])
    await until(here.informer, lambda: image(here, "other") != "")

    assert (image(here), len(image(here, "other"))) == ("nginx:1", 300_000)


async def test_objects_are_found_by_an_index() -> None:
    async with world() as here:
        informer = Informer(
            here.client,
            IMAGE_PULL_JOBS,
            Metrics(),
            indexes={"repository": lambda job: [job.spec.image.partition(":")[0]]},
        )
        here.put("one", "nginx:1")
        here.put("two", "nginx:2")
        here.put("three", "redis:1")

        def found(repository: str) -> set[str]:
            return {job.metadata.name for job in informer.indexed("repository", repository)}

        async with following(informer):
            assert (found("nginx"), found("redis"), found("absent")) == ({"one", "two"}, {"three"}, set())
            here.put("two", "redis:2")
            here.server.remove("imagepulljobs", "three", "default")
            await until(informer, lambda: found("redis") == {"two"})

        assert found("nginx") == {"one"}
