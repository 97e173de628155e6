"""Restarts for changed labels and annotations, beside an API server and a runtime that fail on demand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from grpclib.const import Status

from daemon.localpods.journal import Journal
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.restarts.drift import DriftRestarts
from daemon.restarts.stopping import Stopper
from tests.fakes.apifaults import Fault
from tests.fakes.following import running
from tests.functional.pod_world import PodWorld, pod_world
from tests.functional.small_kubelet import SmallKubelet

PLANNED = "inplaced.dev/planned-restarts"


@pytest.fixture
async def kubelet(tmp_path: Path) -> AsyncIterator[SmallKubelet]:
    async with pod_world(tmp_path) as world:
        yield SmallKubelet(world)


@asynccontextmanager
async def agent(world: PodWorld) -> AsyncIterator[DriftRestarts]:
    """One life of the agent, which ends without any farewell."""
    restarts = DriftRestarts(world.around, Stopper(world.around))
    restarts.start()
    async with running(*(part() for part in restarts.workers)):  # type: ignore[arg-type]
        yield restarts


async def in_sync(kubelet: SmallKubelet) -> None:
    await kubelet.world.server.until(lambda: kubelet.condition().get("status") == "True")


async def stopped(kubelet: SmallKubelet, count: int) -> None:
    await kubelet.world.server.until(lambda: len(kubelet.stops()) == count)


async def test_a_change_costs_three_calls_of_the_runtime_and_three_writes(kubelet: SmallKubelet) -> None:
    kubelet.run()
    async with agent(kubelet.world):
        await in_sync(kubelet)
        calls, writes = len(kubelet.world.runtime.calls), kubelet.world.server.writes

        kubelet.annotate(colour="blue")
        await stopped(kubelet, 1)
        kubelet.restart()
        await in_sync(kubelet)
        await kubelet.world.server.until(lambda: bool(kubelet.world.events()))

    made = [name for name, _ in kubelet.world.runtime.calls[calls:] if name not in {"Version", "Status"}]
    assert sorted(made) == ["ContainerStatus", "ContainerStatus", "StopContainer"]
    assert kubelet.world.server.writes - writes == {"patch pods/status": 2, "create events": 1}
    assert kubelet.annotations[PLANNED] == '{"app":1}'


async def test_a_restart_is_seen_from_its_cause_to_its_end(kubelet: SmallKubelet) -> None:
    kubelet.run()
    around, seen = kubelet.world.around, asyncio.Event()
    steps: list[str] = []

    def look() -> None:
        steps.extend(each.step for each in journal.restarts if each.step not in steps)
        if "Done" in steps:
            seen.set()

    journal = Journal(around.clock, look)
    kubelet.world.around = msgspec.structs.replace(around, journal=journal)
    around.pods.on_change(journal.take)
    async with agent(kubelet.world):
        await in_sync(kubelet)
        kubelet.world.runtime.fail("StopContainer", Status.UNAVAILABLE, "away", times=1)
        kubelet.annotate(colour="blue")
        await stopped(kubelet, 2)
        kubelet.restart()
        async with asyncio.timeout(10):
            await seen.wait()

    (restart,) = journal.restarts
    assert [each for each in steps if each != "Settling"] == [
        "Due",
        "Stopping",
        "Failed",
        "Successor",
        "Done",
    ]
    assert restart.why == "labels or annotations of the pod changed COLOUR"
    assert restart.seconds is not None


async def test_nothing_is_stopped_before_it_is_written_down(kubelet: SmallKubelet) -> None:
    kubelet.run()
    async with agent(kubelet.world):
        await in_sync(kubelet)
        fault = kubelet.world.server.fail(Fault(status=503, verb="patch", resource="pods/status", times=99))

        kubelet.annotate(colour="blue")
        await kubelet.world.server.until(lambda: fault.met >= 2)
        assert kubelet.stops() == []
        fault.times = 0
        await stopped(kubelet, 1)

    assert kubelet.annotations[PLANNED] == '{"app":1}'


async def test_an_agent_that_died_after_writing_stops_the_container_and_counts_it_once(
    kubelet: SmallKubelet,
) -> None:
    kubelet.run()
    async with agent(kubelet.world):
        await in_sync(kubelet)
        kubelet.world.runtime.hang("StopContainer")
        kubelet.annotate(colour="blue")
        await kubelet.world.server.until(lambda: bool(kubelet.stops()))
    kubelet.world.runtime.heal()

    async with agent(kubelet.world):
        await stopped(kubelet, 2)
        kubelet.restart()
        await in_sync(kubelet)

    assert len(set(kubelet.stops())) == 1
    assert kubelet.annotations[PLANNED] == '{"app":1}'


async def test_an_agent_that_died_after_the_stop_does_nothing_twice(kubelet: SmallKubelet) -> None:
    kubelet.run()
    async with agent(kubelet.world):
        await in_sync(kubelet)
        kubelet.annotate(colour="blue")
        await stopped(kubelet, 1)

    async with agent(kubelet.world):
        kubelet.restart()
        await in_sync(kubelet)

    assert len(kubelet.stops()) == 1
    assert kubelet.annotations[PLANNED] == '{"app":1}'


async def test_a_stop_that_fails_is_told_and_tried_again(kubelet: SmallKubelet) -> None:
    kubelet.run()
    async with agent(kubelet.world):
        await in_sync(kubelet)
        kubelet.world.runtime.fail("StopContainer", Status.UNKNOWN, "shim is busy", times=1)

        kubelet.annotate(colour="blue")
        await kubelet.world.server.until(lambda: kubelet.condition().get("reason") == "Failed")
        await stopped(kubelet, 2)
        kubelet.restart()
        await in_sync(kubelet)

    assert kubelet.annotations[PLANNED] == '{"app":1}'


async def test_a_runtime_that_does_not_answer_is_asked_again(kubelet: SmallKubelet) -> None:
    kubelet.run()
    kubelet.world.runtime.fail("ContainerStatus", Status.UNKNOWN, "busy", times=1)

    async with agent(kubelet.world):
        await in_sync(kubelet)

    assert kubelet.stops() == []


async def test_annotations_that_the_api_server_refuses_are_told_and_stop_nothing(
    kubelet: SmallKubelet,
) -> None:
    kubelet.run()
    async with agent(kubelet.world):
        await in_sync(kubelet)
        kubelet.world.server.fail(Fault(status=422, verb="patch", resource="pods/status"))

        kubelet.annotate(colour="blue")
        await kubelet.world.server.until(lambda: kubelet.condition().get("reason") == "Failed")

    assert kubelet.stops() == []
    assert "annotations are refused" in kubelet.condition()["message"]


async def test_a_pod_with_an_owner_is_stopped_when_the_controller_grants_it(kubelet: SmallKubelet) -> None:
    kubelet.run(owned=True)
    async with agent(kubelet.world):
        await in_sync(kubelet)
        writes = kubelet.world.server.writes

        kubelet.annotate(colour="blue")
        assert kubelet.stops() == []
        kubelet.annotate(
            **{"inplaced.dev/restart-granted": f'{{"app":"containerd://{kubelet.container_id}"}}'}
        )
        await stopped(kubelet, 1)
        kubelet.restart()
        await kubelet.world.server.until(lambda: PLANNED in kubelet.annotations)

    assert (kubelet.world.server.writes - writes)["patch pods/status"] == 1
    assert "inplaced.dev/restart-granted" not in kubelet.annotations


async def test_crashes_are_shown_apart_from_planned_restarts(kubelet: SmallKubelet) -> None:
    kubelet.run()
    series = "inplaced_container_unplanned_restarts"
    labels = {"namespace": "shop", "pod": "web", "container": "app"}
    registry = kubelet.world.around.metrics.registry
    async with agent(kubelet.world):
        await in_sync(kubelet)
        kubelet.restart()
        await kubelet.world.server.until(lambda: registry.get_sample_value(series, labels) == 1)
        kubelet.annotate(colour="blue")
        await stopped(kubelet, 1)
        kubelet.restart()
        await kubelet.world.server.until(lambda: PLANNED in kubelet.annotations)
        await in_sync(kubelet)

        assert registry.get_sample_value(series, labels) == 1


async def test_a_pod_that_goes_while_the_runtime_is_asked_leaves_no_series(kubelet: SmallKubelet) -> None:
    world, labels = kubelet.world, {"namespace": "shop", "pod": "web", "container": "app"}
    restarts = DriftRestarts(world.around, Stopper(world.around))
    asked = world.runtime.hang("ContainerStatus")
    known, gone = asyncio.Event(), asyncio.Event()

    def follow(_before: LocalPod | None, after: LocalPod | None) -> None:
        if after is None:
            gone.set()
        elif after.status.container_statuses:
            known.set()

    world.around.pods.on_change(follow)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        kubelet.run()
        await known.wait()
        restarts.start()
        group.create_task(restarts.reconcile(Key("shop", "web")))
        await asked.met.wait()
        world.server.remove("pods", "web", "shop")
        await gone.wait()
        world.runtime.heal()

    registry = world.around.metrics.registry
    assert registry.get_sample_value("inplaced_container_unplanned_restarts", labels) is None


async def test_two_that_count_at_the_same_time_count_both(kubelet: SmallKubelet) -> None:
    kubelet.run()
    async with agent(kubelet.world):
        await in_sync(kubelet)
        pod = kubelet.world.around.pods.list()[0]
        reports = kubelet.world.around.reports

        stops = [{"app": "containerd://1"}, {"log": "containerd://2"}, {"app": "containerd://1"}]
        await asyncio.gather(*(reports.tell(pod, stopped=each) for each in stops))

    assert json.loads(kubelet.annotations[PLANNED]) == {"app": 1, "log": 1}
