"""The node's half of requests to start containers anew: stops what it is told, once, and tells."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from structlog.testing import capture_logs

from daemon import names
from daemon.cri.v1 import runtime_pb2 as pb
from daemon.kube.resources import RECREATE_REQUESTS
from daemon.restarts.recreate_feature import RecreateFeature
from daemon.restarts.stopping import Stopper
from tests.fakes.apifaults import Fault
from tests.fakes.following import running, within
from tests.functional.pod_world import NODE, PodWorld, pod_world

PLURAL = RECREATE_REQUESTS.plural
STATUS = f"{PLURAL}/status"


@dataclass(slots=True)
class World:
    """One pod of a node, its requests, and a kubelet that is played by the test."""

    node: PodWorld
    containers: dict[str, str] = field(default_factory=dict)
    """By name, the ID of the one that the pod tells of."""
    uid: str = ""

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[RecreateFeature]:
        """One life of the agent, which ends as by a kill."""
        feature = RecreateFeature(self.node.around, Stopper(self.node.around))
        feature.start()
        parts = [part() for part in (*feature.feeders, *feature.workers)]
        async with running(*parts):  # type: ignore[arg-type]  # parts are coroutines
            yield feature

    def pod(self, *names_: str, pre_stop: Mapping[str, Any] | None = None) -> None:
        """Have the kubelet run a pod of these containers."""
        hook = {} if pre_stop is None else {"lifecycle": {"preStop": pre_stop}}
        document = {
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "nodeName": NODE,
                "terminationGracePeriodSeconds": 7,
                "containers": [{"name": each, **hook} for each in names_],
            },
        }
        self.uid = self.node.store(document).metadata.uid
        self.containers = {each: self.node.start_container(self.uid, each) for each in names_}
        self.tell_pod()

    def tell_pod(self) -> None:
        """Have the kubelet tell which containers run."""
        stored = dict(self.node.server.document("pods", "web", "shop"))
        statuses = [
            {
                "name": name,
                "containerID": each,
                "ready": True,
                "state": {"running": {"startedAt": "2026-05-01T12:00:00Z"}},
            }
            for name, each in self.containers.items()
        ]
        self.node.server.store(
            "pods", stored | {"status": {"phase": "Running", "containerStatuses": statuses}}
        )

    def restart(self, name: str) -> str:
        """Have the kubelet start a container anew, and tell it."""
        self.containers[name] = self.node.start_container(self.uid, name, attempt=1)
        self.tell_pod()
        return self.containers[name]

    def ask(self, *containers: str, name: str = "again", **strategy: Any) -> None:
        """Have somebody ask for it, and the controller fill it in."""
        states = [
            {"name": each, "phase": "Pending", "containerID": self.containers[each]} for each in containers
        ]
        self.node.server.store(
            PLURAL,
            {
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {
                    "podName": "web",
                    "containers": [{"name": each} for each in containers],
                    "strategy": strategy,
                },
                "status": {
                    "phase": "Pending",
                    "podUID": self.uid,
                    "nodeName": NODE,
                    "containerRecreateStates": states,
                },
            },
        )

    def status(self, name: str = "again") -> Mapping[str, Any]:
        """What the request says."""
        told: Mapping[str, Any] = self.node.server.document(PLURAL, name, "shop").get("status", {})
        return told

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something to be stored."""
        await self.node.server.until(holds)

    async def completed(self, name: str = "again") -> Mapping[str, Any]:
        """The status at the request's end."""
        await self.until(lambda: self.status(name).get("phase") == "Completed")
        return self.status(name)

    async def killed(self, name: str = "again") -> None:
        """Wait until the request says that its container was stopped."""
        await self.until(
            lambda: any(each.get("isKilled") for each in self.status(name).get("containerRecreateStates", ()))
        )

    def state_is(self, state: int) -> bool:
        """Whether the container is in that state."""
        return self.node.state_of(self.containers["app"]) == state

    @property
    def stops(self) -> list[tuple[str, int]]:
        """ID and seconds of each StopContainer."""
        asked = self.node.runtime.requests("StopContainer")
        return [(f"containerd://{each.container_id}", each.timeout) for each in asked]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with pod_world(tmp_path) as node:
        yield World(node)


async def test_a_request_costs_five_writes_of_the_agent(world: World) -> None:
    world.pod("app")
    before = world.containers["app"]

    async with world.agent():
        world.ask("app")
        await world.killed()
        world.restart("app")
        told = await world.completed()
        await world.until(lambda: len(world.node.events()) == 1)

    assert told["message"] == "1 of 1 containers recreated"
    assert world.stops == [(before, 7)]
    assert world.node.events() == [
        ("Killing", "Stopping container app: ContainerRecreateRequest again asks for a new one")
    ]
    assert world.node.server.writes == {f"patch {STATUS}": 3, "patch pods/status": 1, "create events": 1}


async def test_planned_restarts_are_counted_over_requests(world: World) -> None:
    world.pod("app")

    async with world.agent():
        for number in range(3):
            world.ask("app", name=f"again-{number}")
            await world.killed(f"again-{number}")
            world.restart("app")
            await world.completed(f"again-{number}")

    annotations = world.node.server.document("pods", "web", "shop")["metadata"]["annotations"]
    assert annotations[names.PLANNED_RESTARTS_ANNOTATION] == '{"app":3}'


async def test_the_request_s_own_grace_period_is_kept(world: World) -> None:
    world.pod("app")

    async with world.agent():
        world.ask("app", terminationGracePeriodSeconds=3)
        await world.killed()

    assert [seconds for _, seconds in world.stops] == [3]


async def test_what_is_to_be_stopped_is_told_before(world: World) -> None:
    world.pod("app")
    hanging = world.node.runtime.hang("StopContainer")

    async with world.agent():
        world.ask("app")
        await within(hanging.met.wait())

        (state,) = world.status()["containerRecreateStates"]
        assert (state["phase"], state["containerID"]) == ("Recreating", world.containers["app"])
        pod = world.node.server.document("pods", "web", "shop")
        assert pod["metadata"]["annotations"][names.PLANNED_RESTARTS_ANNOTATION] == '{"app":1}'
        world.node.runtime.heal()


async def test_an_agent_that_died_during_the_hook_stops_the_same_container_once(world: World) -> None:
    world.pod("app", pre_stop={"exec": {"command": ["drain"]}})
    before = world.containers["app"]
    hanging = world.node.runtime.hang("ExecSync")
    async with world.agent():
        world.ask("app")
        await within(hanging.met.wait())
    assert world.stops == []
    world.node.runtime.heal()

    async with world.agent():
        await world.killed()
        world.restart("app")
        await world.completed()

    assert world.stops == [(before, 7)]
    pod = world.node.server.document("pods", "web", "shop")
    assert pod["metadata"]["annotations"][names.PLANNED_RESTARTS_ANNOTATION] == '{"app":1}'


async def test_an_agent_that_died_after_the_stop_leaves_the_successor_alone(world: World) -> None:
    world.pod("app")
    before = world.containers["app"]
    async with world.agent():
        world.ask("app")
        await world.until(lambda: bool(world.status().get("conditions")))
        world.node.server.fail(Fault(503, "patch", STATUS, times=1_000))
        await world.until(lambda: bool(world.stops))
    world.node.server.faults.clear()
    world.restart("app")

    async with world.agent():
        told = await world.completed()

    assert told["message"] == "1 of 1 containers recreated"
    assert [each for each, _ in world.stops] == [before]


async def test_a_write_that_somebody_else_overtakes_is_decided_anew(world: World) -> None:
    world.pod("app")
    world.node.server.fail(Fault(409, "patch", STATUS, times=2))

    async with world.agent():
        world.ask("app")
        await world.killed()

    assert len(world.stops) == 1


async def test_nothing_is_stopped_that_cannot_be_told(world: World) -> None:
    world.pod("app")
    fault = world.node.server.fail(Fault(503, "patch", STATUS, times=3))

    async with world.agent():
        world.ask("app")
        await world.until(lambda: fault.times <= 1)
        assert world.stops == []
        await world.killed()

    assert len(world.stops) == 1


async def test_a_removed_request_is_not_served(world: World) -> None:
    world.pod("app", "proxy")
    hanging = world.node.runtime.hang("StopContainer")

    async with world.agent():
        world.ask("app")
        world.ask("proxy", name="second")
        await within(hanging.met.wait())
        world.node.server.remove(PLURAL, "second", "shop")
        world.node.runtime.heal()
        await world.killed()
        world.restart("app")
        await world.completed()

    assert len(world.stops) == 1


async def test_a_runtime_that_comes_back_is_asked_at_once(world: World) -> None:
    world.pod("app")
    fault = world.node.runtime.fail("StopContainer", Status.UNAVAILABLE, "restarting", times=1)

    async with world.agent() as agent:
        world.ask("app")
        await within(fault.met.wait())
        await world.until(lambda: "restarting" in world.status()["message"])
        agent.wake()
        await world.killed()

    assert len(world.stops) == 2


async def test_a_container_that_is_not_the_pod_s_fails_the_request(world: World) -> None:
    world.pod("app")
    world.containers["app"] = world.node.start_container("another pod", "app")
    world.tell_pod()

    async with world.agent():
        world.ask("app")
        told = await world.completed()
        await world.until(lambda: len(world.node.events()) == 1)

    assert "of pod UID 'another pod', not 'app' of shop/web" in told["message"]
    assert world.stops == []
    assert world.node.events()[0][0] == "ContainerFailed"


async def test_requests_of_a_pod_are_served_one_after_another(world: World) -> None:
    world.pod("app", "proxy")

    async with world.agent():
        world.ask("app", name="a-first")
        world.ask("proxy", name="b-second")
        await world.killed("a-first")
        assert len(world.stops) == 1
        world.restart("app")
        await world.killed("b-second")

    assert world.status("a-first")["phase"] == "Completed"


def of_openkruise(world: World, status: Mapping[str, Any] | None = None, **strategy: Any) -> None:
    """A request as OpenKruise's webhook leaves it, or later its manager and daemon with a *status*."""
    context = {"containerID": world.containers["app"], "restartCount": 0}
    labels = {
        names.RECREATE_POD_LABEL: world.uid,
        names.RECREATE_NODE_LABEL: NODE,
        names.RECREATE_ACTIVE_LABEL: "true",
    }
    document = {
        "metadata": {"name": "again", "namespace": "shop", "labels": labels},
        "spec": {
            "podName": "web",
            "containers": [
                {
                    "name": "app",
                    "preStop": {"exec": {"command": ["drain"]}},
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "statusContext": context,
                }
            ],
            "strategy": {"failurePolicy": "Fail", "terminationGracePeriodSeconds": 7, **strategy},
        },
    }
    world.node.server.store(PLURAL, document | ({"status": status} if status is not None else {}))


async def test_openkruise_s_requests_are_found_by_their_labels(world: World) -> None:
    world.pod("app")
    before = world.containers["app"]
    world.node.server.fail(Fault(400, "list", PLURAL))

    async with world.agent():
        of_openkruise(world)
        await world.killed()
        world.restart("app")
        told = await world.completed()

    assert world.stops == [(before, 7)]
    assert told["containerRecreateStates"][0]["phase"] == "Succeeded"


@pytest.mark.parametrize("told", [{"phase": "Pending"}, {"phase": "Recreating", "isKilled": True}])
async def test_what_openkruise_s_daemon_had_begun_and_not_done_is_done(
    world: World, told: Mapping[str, Any]
) -> None:
    """It tells of a kill after it; but the kill of a container that runs on was lost."""
    world.pod("app")
    before = world.containers["app"]
    world.node.server.fail(Fault(400, "list", PLURAL))

    async with world.agent():
        of_openkruise(world, {"phase": "Recreating", "containerRecreateStates": [{"name": "app", **told}]})
        await world.until(lambda: bool(world.stops))
        world.restart("app")
        ended = await world.completed()

    assert world.stops == [(before, 7)]
    assert ended["containerRecreateStates"][0]["phase"] == "Succeeded"


async def test_what_openkruise_s_daemon_had_killed_is_not_stopped_again(world: World) -> None:
    world.pod("app")
    state = {"name": "app", "phase": "Recreating", "isKilled": True}
    snapshot = {"name": "app", "ready": True, "restartCount": 1, "containerID": "containerd://later"}
    world.node.server.fail(Fault(400, "list", PLURAL))

    async with world.agent():
        of_openkruise(
            world,
            {
                "phase": "Recreating",
                "containerRecreateStates": [state],
                "containerStatusSnapshot": [snapshot],
            },
        )
        world.restart("app")
        ended = await world.completed()

    assert world.stops == []
    assert (ended["containerRecreateStates"][0]["phase"], ended["containerStatusSnapshot"]) == (
        "Succeeded",
        [snapshot],
    )


async def test_openkruise_s_grace_without_traffic_is_waited_for(world: World) -> None:
    world.pod("app")
    world.node.server.fail(Fault(400, "list", PLURAL))

    async with world.agent():
        of_openkruise(world, unreadyGracePeriodSeconds=0)
        await world.until(lambda: world.status().get("phase") == "Recreating")  # its manager waits for that
        assert world.stops == []
        condition = {
            "type": names.PRE_RECREATE_GRACE,
            "status": "True",
            "reason": "UnreadyAcquired",
            "message": "",
            "lastTransitionTime": "2026-05-01T12:00:00Z",
        }
        now = world.node.server.document(PLURAL, "again", "shop")
        told = {**now["status"], "conditions": [condition]}
        world.node.server.store(PLURAL, {**now, "status": told})
        await world.killed()

    assert len(world.stops) == 1


async def test_a_request_for_a_pod_of_another_node_does_nothing(world: World) -> None:
    world.pod("app")
    foreign = {
        "metadata": {"name": "far", "namespace": "shop"},
        "spec": {"nodeName": "node-8", "containers": [{"name": "app"}]},
    }
    world.node.server.store("pods", foreign)
    world.ask("app")
    request = world.node.server.document(PLURAL, "again", "shop")
    forged = {**request["spec"], "podName": "far"}
    metadata = {"name": "forged", "namespace": "shop"}
    world.node.server.store(PLURAL, {"metadata": metadata, "spec": forged, "status": request["status"]})

    async with world.agent():
        await world.killed()

    assert world.status("forged")["phase"] == "Pending"
    assert len(world.stops) == 1


async def test_without_the_kind_it_is_asked_for_again(world: World) -> None:
    world.pod("app")
    kind = world.node.server.kinds.pop(PLURAL)

    with capture_logs() as logs:
        async with world.agent():
            await world.until(lambda: world.node.server.discoveries >= 3)
            world.node.server.kinds[PLURAL] = kind
            world.ask("app")
            await world.killed()

    assert [each["event"] for each in logs].count("requests not followed yet") == 1


async def test_rights_that_come_late_are_waited_for(world: World) -> None:
    world.pod("app")
    world.node.server.fail(Fault(403, "list", PLURAL))

    async with world.agent():
        world.ask("app")
        await world.killed()

    assert world.state_is(pb.CONTAINER_EXITED)


async def test_the_stops_that_run_are_waited_for_at_the_end(world: World) -> None:
    world.pod("app")
    hanging = world.node.runtime.hang("StopContainer")
    feature = RecreateFeature(world.node.around, Stopper(world.node.around))
    feature.start()
    async with running(*(part() for part in feature.feeders)):  # type: ignore[arg-type]  # coroutines
        working = [asyncio.ensure_future(part()) for part in feature.workers]
        world.ask("app")
        await within(hanging.met.wait())
        for queue in feature.queues:
            queue.close()
        world.node.runtime.heal()
        await within(asyncio.gather(*working))

    assert world.state_is(pb.CONTAINER_EXITED)
