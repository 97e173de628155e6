"""Events: repeats become one with a count, a flood becomes a trickle, and failures hold nobody up."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.events import EventPace, EventRecorder
from daemon.kube.resources import IMAGE_PULL_JOBS
from daemon.metrics import Metrics
from daemon.objects.images import ImagePullJob, ImagePullJobSpec
from daemon.objects.meta import ObjectMeta
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.apistorage import Document
from tests.fakes.clock import FakeClock
from tests.fakes.following import running

QUICK = EventPace(burst=25, rate=100, between_repeats=0.3, before_retry=0.1)
JOB = ImagePullJob(
    metadata=ObjectMeta(name="web", namespace="default", uid="u1"), spec=ImagePullJobSpec(image="nginx:1")
)


@dataclass(slots=True)
class World:
    server: FakeApiServer
    recorder: EventRecorder
    metrics: Metrics

    def say(self, reason: str = "Started", note: str = "pulls") -> None:
        self.recorder.record(IMAGE_PULL_JOBS, JOB, reason, note)

    def events(self) -> list[Document]:
        return list(self.server.storage.of("events").values())

    def dropped(self, reason: str) -> float:
        labels = {"reason": reason}
        return self.metrics.registry.get_sample_value("inplaced_events_dropped_total", labels) or 0.0


@asynccontextmanager
async def world(pace: EventPace = QUICK) -> AsyncIterator[World]:
    metrics = Metrics()
    async with FakeApiServer() as server, ApiClient(Fixed(server.url), metrics) as client:
        recorder = EventRecorder(
            client, metrics, FakeClock(), controller="inplaced.dev/test", instance="node-a", pace=pace
        )
        async with running(recorder.run()):
            yield World(server, recorder, metrics)


async def test_an_event_says_what_happened_to_which_object() -> None:
    async with world() as here:
        here.say("PullFailed", "no such image")
        await here.server.until(lambda: len(here.events()) == 1)

        (event,) = here.events()

    assert event["regarding"] == {
        "kind": "ImagePullJob",
        "name": "web",
        "namespace": "default",
        "uid": "u1",
        "apiVersion": "apps.kruise.io/v1beta1",
    }
    assert (event["reason"], event["action"], event["note"]) == ("PullFailed", "PullFailed", "no such image")
    assert (event["reportingController"], event["reportingInstance"]) == ("inplaced.dev/test", "node-a")
    assert event["metadata"]["namespace"] == "default"
    assert event["metadata"]["name"].startswith("web.")


async def test_repeats_are_counted_in_one_event() -> None:
    async with world() as here:
        here.say()
        await here.server.until(lambda: len(here.events()) == 1)
        for _ in range(9):
            here.say()
        await here.server.until(lambda: here.events()[0].get("series", {}).get("count") == 10)

        assert here.server.writes == {"create events": 1, "patch events": 1}


async def test_what_is_different_is_another_event() -> None:
    async with world() as here:
        here.say(note="one")
        here.say(note="two")
        await here.server.until(lambda: len(here.events()) == 2)

        assert {event["note"] for event in here.events()} == {"one", "two"}


async def test_a_repeat_of_an_event_that_was_forgotten_is_a_new_one() -> None:
    async with world() as here:
        here.say()
        await here.server.until(lambda: len(here.events()) == 1)
        (event,) = here.events()
        here.server.remove("events", event["metadata"]["name"], "default")

        here.say()
        await here.server.until(lambda: len(here.events()) == 1)

        assert here.events()[0]["metadata"]["uid"] != event["metadata"]["uid"]


async def test_a_flood_becomes_a_trickle() -> None:
    async with world(EventPace(burst=5, rate=10.0)) as here:
        began = time.monotonic()
        for number in range(15):
            here.say(note=f"number {number}")
        await here.server.until(lambda: len(here.events()) == 15)

        assert time.monotonic() - began >= 0.9


async def test_what_waits_is_bounded() -> None:
    async with world(EventPace(burst=1, rate=0.001)) as here:
        for number in range(400):
            here.say(note=f"number {number}")

        assert here.dropped("full") == 400 - 256


@pytest.mark.parametrize("status", [500, 429, 503])
async def test_an_event_that_failed_is_tried_again(status: int) -> None:
    async with world() as here:
        here.server.fail(Fault(status=status, resource="events", times=2))

        here.say()
        await here.server.until(lambda: len(here.events()) == 1)

        assert here.dropped("failed") == 0.0


async def test_an_event_that_is_refused_is_dropped() -> None:
    async with world() as here:
        here.server.fail(Fault(status=403, resource="events"))

        here.say(note="refused")
        here.say(note="next")
        await here.server.until(lambda: len(here.events()) == 1)

        assert here.events()[0]["note"] == "next"
        assert here.dropped("failed") == 1.0


async def test_nobody_waits_for_an_event() -> None:
    async with world() as here:
        here.server.fail(Fault(hang=True, resource="events"))

        began = time.monotonic()
        here.say()

        assert time.monotonic() - began < 0.1
        assert here.events() == []


async def test_a_note_is_cut_to_what_the_server_takes_and_tells_no_secret() -> None:
    async with world() as here:
        here.say(note="é" * 2000)
        here.say(note="https://user:hunter2@registry.test refused")
        await here.server.until(lambda: len(here.events()) == 2)
        notes = sorted((event["note"] for event in here.events()), key=len)

    assert notes[0] == "https://***@registry.test refused"
    assert len(notes[1].encode()) <= 1024
    assert notes[1].endswith("é…")
