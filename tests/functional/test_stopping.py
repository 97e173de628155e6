"""A container is stopped as the kubelet would stop it, and never another one."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from msgspec.structs import replace

from daemon.cri.errors import CallFailedError
from daemon.cri.v1 import runtime_pb2 as pb
from daemon.engine.clock import SystemClock
from daemon.objects.local_pods import LocalPod
from daemon.restarts.stopping import NoRuntimeError, OtherContainerError, Stopper, UnforeseenError
from tests.fakes.following import within
from tests.functional.pod_world import NODE, PodWorld, pod_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PodWorld]:
    async with pod_world(tmp_path) as made:
        yield made


def document(pre_stop: Mapping[str, Any] | None = None, *, grace: int = 30) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "app", "image": "repo/app:v1"}
    if pre_stop is not None:
        container["lifecycle"] = {"preStop": pre_stop}
    return {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"nodeName": NODE, "terminationGracePeriodSeconds": grace, "containers": [container]},
        "status": {"podIP": "127.0.0.1"},
    }


def put(world: PodWorld, pre_stop: Mapping[str, Any] | None = None, *, grace: int = 30) -> LocalPod:
    return world.store(document(pre_stop, grace=grace))


def stops(world: PodWorld) -> list[tuple[str, int]]:
    """ID and seconds of each StopContainer."""
    return [
        (f"containerd://{each.container_id}", each.timeout)
        for each in world.runtime.requests("StopContainer")
    ]


async def test_without_a_hook_it_has_the_whole_grace_period(world: PodWorld) -> None:
    pod = put(world, grace=17)
    container = world.start_container(pod.metadata.uid, "app")

    stopped = await Stopper(world.around).stop(pod, "app", container, reason="it was asked for")

    assert stopped is True
    assert stops(world) == [(container, 17)]


async def test_another_grace_period_may_be_asked_for(world: PodWorld) -> None:
    pod = put(world, grace=17)
    container = world.start_container(pod.metadata.uid, "app")

    await Stopper(world.around).stop(pod, "app", container, reason="it was asked for", grace=5)

    assert stops(world) == [(container, 5)]


async def test_a_container_has_two_seconds_at_least(world: PodWorld) -> None:
    pod = put(world, {"exec": {"command": ["drain"]}}, grace=0)
    container = world.start_container(pod.metadata.uid, "app")

    await Stopper(world.around).stop(pod, "app", container, reason="it was asked for")

    assert stops(world) == [(container, 2)]
    assert world.runtime.requests("ExecSync") == [], "no hook without a grace period, as with the kubelet"


async def test_the_hook_s_command_runs_first_in_the_container(world: PodWorld) -> None:
    pod = put(world, {"exec": {"command": ["drain", "--all"]}})
    container = world.start_container(pod.metadata.uid, "app")

    await Stopper(world.around).stop(pod, "app", container, reason="it was asked for")

    ran = [name for name, _ in world.runtime.calls if name in {"ExecSync", "StopContainer"}]
    (asked,) = world.runtime.requests("ExecSync")
    assert ran == ["ExecSync", "StopContainer"]
    assert (list(asked.cmd), f"containerd://{asked.container_id}") == (["drain", "--all"], container)


async def test_what_the_hook_took_is_taken_from_the_grace_period(world: PodWorld) -> None:
    pod = put(world, {"sleep": {"seconds": 1}}, grace=5)
    container = world.start_container(pod.metadata.uid, "app")

    await Stopper(world.around).stop(pod, "app", container, reason="it was asked for")

    assert stops(world) == [(container, 4)]


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ({"exec": {"command": ["fail"]}}, "its command ended with exit code 3"),
        ({"tcpSocket": {"port": 1}}, "cannot connect to 127.0.0.1, port 1: Connection refused"),
        ({"httpGet": {"port": 1}}, "no answer from 127.0.0.1, port 1: Connection refused"),
        ({"httpGet": {"port": "admin"}}, "its port 'admin' is the name of no port of the container"),
        ({}, "it names no action that is known"),
    ],
    ids=["exec", "tcp", "http", "named port", "nothing"],
)
async def test_a_hook_that_fails_is_told_and_changes_nothing(
    world: PodWorld, hook: Mapping[str, Any], why: str
) -> None:
    world.runtime.node.exit_codes["fail"] = 3
    pod = put(world, hook)
    container = world.start_container(pod.metadata.uid, "app")

    await Stopper(world.around).stop(pod, "app", container, reason="it was asked for")

    await world.server.until(lambda: len(world.events()) == 2)
    (killing, failed) = world.events()
    assert killing == ("Killing", "Stopping container app: it was asked for")
    assert failed[0] == "FailedPreStopHook"
    assert failed[1].startswith(f"preStop of container app failed: {why}")
    assert [each for each, _ in stops(world)] == [container]


async def test_what_a_hook_s_command_says_is_repeated_nowhere(
    world: PodWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = put(world, {"exec": {"command": ["drain", "token-xyz"]}})
    container = world.start_container(pod.metadata.uid, "app")
    world.runtime.fail("ExecSync", Status.UNKNOWN, "exec of [drain token-xyz] failed")

    await Stopper(world.around).stop(pod, "app", container, reason="it was asked for")

    await world.server.until(lambda: len(world.events()) == 2)
    assert "token-xyz" not in str(world.events()) + capsys.readouterr().out


async def test_a_hook_that_takes_too_long_is_ended(world: PodWorld) -> None:
    pod = put(world, {"exec": {"command": ["drain"]}})
    container = world.start_container(pod.metadata.uid, "app")
    hanging = world.runtime.hang("ExecSync")

    await Stopper(world.around).stop(pod, "app", container, reason="it was asked for", grace=0.3)

    await within(hanging.cancelled.wait())
    await world.server.until(lambda: len(world.events()) == 2)
    assert "it did not end within the grace period of 0.3 seconds" in world.events()[1][1]
    assert stops(world) == [(container, 2)]


async def test_a_container_that_has_ended_is_left_alone(world: PodWorld) -> None:
    pod = put(world, {"exec": {"command": ["drain"]}})
    container = world.start_container(pod.metadata.uid, "app")
    world.runtime.node.StopContainer(
        pb.StopContainerRequest(container_id=container.removeprefix("containerd://"))
    )

    assert await Stopper(world.around).stop(pod, "app", container, reason="it was asked for") is False
    assert await Stopper(world.around).stop(pod, "app", "containerd://gone", reason="as well") is False
    assert stops(world) == []
    assert world.runtime.requests("ExecSync") == []


@pytest.mark.parametrize(("uid", "name"), [("another pod", "app"), ("", "sidecar")], ids=["pod", "name"])
async def test_another_container_is_never_hit(world: PodWorld, uid: str, name: str) -> None:
    pod = put(world)
    container = world.start_container(uid or pod.metadata.uid, name)

    with pytest.raises(OtherContainerError, match=r"not 'app' of shop/web"):
        await Stopper(world.around).stop(pod, "app", container, reason="it was asked for")

    assert stops(world) == []


async def test_the_runtime_is_the_one_that_the_id_names(world: PodWorld) -> None:
    with pytest.raises(NoRuntimeError, match="cri-o://c1"):
        await Stopper(world.around).stop(put(world), "app", "cri-o://c1", reason="it was asked for")


async def test_two_who_want_it_stopped_stop_it_once(world: PodWorld) -> None:
    pod = put(world, {"exec": {"command": ["drain"]}})
    container = world.start_container(pod.metadata.uid, "app")
    stopper = Stopper(world.around)

    stopped = await asyncio.gather(
        *(stopper.stop(pod, "app", container, reason="it was asked for") for _ in range(3))
    )

    assert sorted(stopped) == [False, False, True]
    assert len(world.runtime.requests("ExecSync")) == 1
    assert len(stops(world)) == 1


async def test_a_stop_that_failed_may_be_tried_again(world: PodWorld) -> None:
    pod = put(world)
    container = world.start_container(pod.metadata.uid, "app")
    stopper = Stopper(world.around)
    world.runtime.fail("StopContainer", Status.UNKNOWN, "shim is busy", times=1)

    with pytest.raises(CallFailedError):
        await stopper.stop(pod, "app", container, reason="it was asked for")
    again = await stopper.stop(pod, "app", container, reason="it was asked for")

    assert again is True
    assert world.state_of(container) == pb.CONTAINER_EXITED


async def test_a_pod_that_is_being_deleted_is_the_kubelet_s(world: PodWorld) -> None:
    pod = put(world)
    container = world.start_container(pod.metadata.uid, "app")
    going = replace(pod, metadata=replace(pod.metadata, deletion_timestamp=datetime.now(UTC)))

    assert await Stopper(world.around).stop(going, "app", container, reason="it was asked for") is False
    assert stops(world) == []


async def test_a_pod_whose_name_another_one_has_is_gone(world: PodWorld) -> None:
    pod = put(world)
    container = world.start_container(pod.metadata.uid, "app")
    await world.seen(pod)
    before = replace(pod, metadata=replace(pod.metadata, uid="the one before"))

    assert await Stopper(world.around).stop(before, "app", container, reason="it was asked for") is False
    assert stops(world) == []


async def test_a_deletion_ends_the_hook_and_wins(world: PodWorld) -> None:
    pod = put(world, {"exec": {"command": ["drain"]}})
    container = world.start_container(pod.metadata.uid, "app")
    await world.seen(pod)
    hanging = world.runtime.hang("ExecSync")
    stopping = asyncio.create_task(
        Stopper(world.around).stop(pod, "app", container, reason="it was asked for")
    )
    await within(hanging.met.wait())

    world.server.remove("pods", "web", "shop")

    assert await within(stopping) is False
    await within(hanging.cancelled.wait())
    assert stops(world) == []
    assert [reason for reason, _ in world.events() if reason == "FailedPreStopHook"] == []


class BrokenClock(SystemClock):
    """Tells no time."""

    def monotonic(self) -> float:
        raise ArithmeticError


async def test_what_nobody_thought_of_is_an_error_of_this_stop_alone(world: PodWorld) -> None:
    pod = put(world)
    container = world.start_container(pod.metadata.uid, "app")

    with pytest.raises(UnforeseenError, match="ArithmeticError"):
        await Stopper(replace(world.around, clock=BrokenClock())).stop(
            pod, "app", container, reason="it was asked for"
        )

    assert await Stopper(world.around).stop(pod, "app", container, reason="it was asked for") is True
