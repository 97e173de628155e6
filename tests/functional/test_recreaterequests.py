"""The centre fills requests in, ends those that have no end, and lets every pod back into traffic."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from daemon import names
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import FakeApiServer
from tests.functional.recreates_world import NODE, PLURAL, RecreatesWorld, centre_of, recreates_world

UNREADY = {"unreadyGracePeriodSeconds": 0}
BLOCKED = json.dumps([{"userAgent": "ContainerRecreateRequest", "key": "shop/again"}], separators=(",", ":"))


@pytest.fixture
async def world() -> AsyncIterator[RecreatesWorld]:
    async with recreates_world() as made:
        yield made


async def test_a_request_is_filled_in_by_two_writes(world: RecreatesWorld) -> None:
    pod = world.pod()

    world.ask()
    status = await world.reached("Pending")

    assert (status["podUID"], status["nodeName"]) == (pod["metadata"]["uid"], NODE)
    assert status["containerRecreateStates"] == [
        {"name": "app", "phase": "Pending", "containerID": "containerd://c1"}
    ]
    assert world.request()["metadata"]["labels"] == {
        names.RECREATE_POD_LABEL: pod["metadata"]["uid"],
        names.RECREATE_NODE_LABEL: NODE,
    }
    assert world.server.writes == {f"patch {PLURAL}": 1, f"patch {PLURAL}/status": 1}


async def test_an_impossible_request_ends_with_an_event(world: RecreatesWorld) -> None:
    world.ask(podName="gone")

    status = await world.reached("Completed")

    assert status["message"] == "spec.podName: there is no pod gone in namespace shop"
    await world.server.until(lambda: bool(world.server.storage.of("events")))
    (event,) = world.server.storage.of("events").values()
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "PodNotFound", status["message"])
    assert event["regarding"]["kind"] == "ContainerRecreateRequest"


async def test_a_request_ends_with_its_pod(world: RecreatesWorld) -> None:
    world.pod()
    world.ask()
    await world.reached("Pending")

    world.server.remove("pods", "web", "shop")

    assert (await world.reached("Completed"))["message"] == "pod web has gone"


async def test_a_pod_of_the_same_name_is_another_one(world: RecreatesWorld) -> None:
    world.pod()
    world.ask()
    await world.reached("Pending")

    world.server.muted = True
    world.server.remove("pods", "web", "shop")
    world.pod()
    world.server.muted = False
    world.server.cut_watches()

    assert (await world.reached("Completed"))["message"] == "pod web has gone"


async def test_an_ended_request_is_removed_after_its_time(world: RecreatesWorld) -> None:
    world.pod()
    world.ask(ttlSecondsAfterFinished=0)
    await world.reached("Pending")

    world.tell(phase="Completed", completionTime=datetime.now(UTC).isoformat())

    await world.server.until(lambda: ("shop", "again") not in world.server.storage.of(PLURAL))


async def test_the_gate_of_a_new_pod_is_opened(world: RecreatesWorld) -> None:
    world.pod(gate=True)

    await world.server.until(lambda: world.traffic() == ("True", ""))


async def test_a_pod_is_out_of_traffic_while_its_request_is_served(world: RecreatesWorld) -> None:
    world.pod(gate=True)
    world.ask(strategy=UNREADY)

    await world.server.until(lambda: world.traffic() == ("False", BLOCKED))
    await world.server.until(lambda: "PreRecreateGrace" in str(world.request()["status"]["conditions"]))
    assert world.request()["metadata"]["finalizers"] == [names.UNREADY_ACQUIRED]
    world.tell(phase="Completed")

    await world.server.until(lambda: world.traffic() == ("True", ""))
    await world.server.until(lambda: "finalizers" not in world.request()["metadata"])


async def test_others_may_keep_it_out_of_traffic_still(world: RecreatesWorld) -> None:
    other = {"userAgent": "Lifecycle", "key": "preUpdateHook"}
    message = json.dumps([other], separators=(",", ":"))
    condition = {"type": names.KRUISE_POD_READY, "status": "False", "message": message}
    pod = world.pod(gate=True)
    world.pod(gate=True, status={**pod["status"], "conditions": [condition]})

    world.ask(strategy=UNREADY)
    await world.server.until(lambda: "shop/again" in world.traffic()[1])
    await world.reached("Pending")
    world.tell(phase="Completed")

    await world.server.until(lambda: world.traffic() == ("False", message))


async def test_the_kubelet_s_writes_do_not_come_between(world: RecreatesWorld) -> None:
    world.pod(gate=True)
    await world.server.until(lambda: world.traffic() == ("True", ""))
    world.server.fail(Fault(409, "patch", "pods/status", times=2))

    world.ask(strategy=UNREADY)

    await world.server.until(lambda: world.traffic() == ("False", BLOCKED))


async def test_a_removed_request_lets_the_pod_back(world: RecreatesWorld) -> None:
    world.pod(gate=True)
    world.ask(strategy=UNREADY)
    await world.server.until(lambda: world.traffic() == ("False", BLOCKED))

    world.server.remove(PLURAL, "again", "shop")

    await world.server.until(lambda: ("shop", "again") not in world.server.storage.of(PLURAL))
    assert world.traffic() == ("True", "")


async def test_the_next_leader_lets_the_pod_back_that_the_last_one_took_out() -> None:
    async with FakeApiServer() as server:
        async with centre_of(server) as centre:
            world = RecreatesWorld(server, centre)
            world.pod(gate=True)
            world.ask(strategy=UNREADY)
            await server.until(lambda: world.traffic() == ("False", BLOCKED))
        world.tell(phase="Completed")

        async with centre_of(server):
            await server.until(lambda: world.traffic() == ("True", ""))
            await server.until(lambda: "finalizers" not in world.request()["metadata"])


async def test_a_pod_serves_while_its_request_waits_for_another(world: RecreatesWorld) -> None:
    world.pod(gate=True)
    world.ask("first")
    await world.reached("Pending", "first")

    world.ask(strategy=UNREADY)
    await world.reached("Pending")
    assert world.traffic() == ("True", "")
    world.tell("first", phase="Completed")

    await world.server.until(lambda: world.traffic() == ("False", BLOCKED))


async def test_a_silent_agent_is_not_waited_for(world: RecreatesWorld) -> None:
    world.pod()
    world.ask()
    await world.reached("Pending")

    world.centre.hear({NODE: datetime.now(UTC)})

    status = await world.reached("Completed")
    assert f"the agent of node {NODE} gives no sign of life" in status["message"]


async def test_what_openkruise_s_manager_looks_after_is_left_to_it(world: RecreatesWorld) -> None:
    theirs = [{"name": "app", "statusContext": {"containerID": "containerd://c1", "restartCount": 0}}]
    labels = {names.RECREATE_ACTIVE_LABEL: "true"}
    world.ask("theirs", metadata={"labels": labels}, podName="gone", containers=theirs)

    world.ask("ours", podName="gone")
    await world.reached("Completed", "ours")

    assert world.phase("theirs") == ""


async def test_what_openkruise_s_manager_has_left_is_brought_to_its_end() -> None:
    async with recreates_world(alone=True) as world:
        pod = world.pod(gate=True)
        await world.server.until(lambda: world.traffic() == ("True", ""))
        blocked = {"type": names.KRUISE_POD_READY, "status": "False", "message": BLOCKED}
        stored = dict(world.server.document("pods", "web", "shop"))
        world.server.store("pods", stored | {"status": {**stored["status"], "conditions": [blocked]}})
        labels = {
            names.RECREATE_ACTIVE_LABEL: "true",
            names.RECREATE_POD_LABEL: pod["metadata"]["uid"],
            names.RECREATE_NODE_LABEL: NODE,
        }
        context = {"containerID": "containerd://c0", "restartCount": 0}
        world.ask(
            metadata={"labels": labels, "finalizers": [names.UNREADY_ACQUIRED]},
            containers=[{"name": "app", "statusContext": context}],
            strategy={"unreadyGracePeriodSeconds": 5},
        )

        status = await world.reached("Pending")
        assert (status["podUID"], status["nodeName"]) == (pod["metadata"]["uid"], NODE)
        assert status["containerRecreateStates"][0]["containerID"] == "containerd://c0"
        world.tell(phase="Completed")

        await world.server.until(lambda: world.traffic() == ("True", ""))
        await world.server.until(lambda: "finalizers" not in world.request()["metadata"])
