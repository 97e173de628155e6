"""Containers of pods on a real kubelet, restarted in place when labels or annotations that they read change.

How often a container really started, and with what, is counted by itself.
"""

import asyncio
import itertools
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from daemon.objects.container_hashes import environment_hash, plain_hash
from tests.testbed.cluster import Cluster
from tests.testbed.counting import OPTED_IN, condition, counter, planned, restart_count
from tests.testbed.restarting import Restarting, restarting
from tests.testbed.session import Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.integration]

QUIET = 0.7
"""Seconds after the end of a restart within which a second one would have begun."""
KRUISE = {
    "apiVersion": "apps.kruise.io/v1beta1",
    "kind": "CloneSet",
    "name": "c",
    "uid": "c-1",
    "controller": True,
}
UPDATING = {"type": "InPlaceUpdateReady", "status": "False", "reason": "StartInPlaceUpdate"}
NOT_OPTED_IN = {"inplaced.dev/restart-on-metadata-change": "false"}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(testbed: Session) -> AsyncIterator[Restarting]:
    """A cluster of its own: no other agent works on this node."""
    cluster = Cluster(testbed.new_directory("k"))
    try:
        await cluster.start()
        async with restarting(cluster) as started:
            yield started
    finally:
        await cluster.stop()
        cluster.remove()


@pytest.fixture
def name(prefix: str) -> str:
    """Of this test's pods: one of their labels, too, which is why it is short."""
    words = "".join(char if char.isalnum() else "-" for char in prefix.lower())
    return f"{words[-30:].strip('-')}-{zlib.crc32(prefix.encode()):08x}"


async def colours(world: Restarting, pod: dict[str, Any], container: str = "app") -> list[str]:
    """With what the container started each time, once nothing more happens."""
    await asyncio.sleep(QUIET)
    return [each.colour for each in world.starts(pod, container)]


async def kruise_owner(world: Restarting) -> dict[str, Any]:
    """An object of OpenKruise's group that has no pods of its own to care for."""
    node = await world.api.get(f"/apis/apps.kruise.io/v1beta1/nodeimages/{world.cluster.node}")
    names = {"name": world.cluster.node, "uid": node["metadata"]["uid"]}
    return {"apiVersion": "apps.kruise.io/v1beta1", "kind": "NodeImage", "controller": True, **names}


async def test_a_bare_pod_gets_its_new_environment_in_place(world: Restarting, name: str) -> None:
    before = await world.create(name, containers=[{"name": "other", "image": world.image.ref}])
    before = await world.in_sync(name)

    await world.annotate(name, colour="blue")
    after = await world.restarted(name, 1)

    assert await colours(world, after) == ["red", "blue"]
    assert (planned(after), restart_count(after), restart_count(after, "other")) == (1, 1, 0)
    same = [("metadata", "uid"), ("status", "podIP"), ("spec", "nodeName")]
    assert [after[part][key] for part, key in same] == [before[part][key] for part, key in same]
    told = [each[1:] for each in await world.events(name) if each[0] == "inplaced.dev/agent"]
    assert told == [("Killing", "Stopping container app: labels or annotations of the pod changed COLOUR")]


async def test_pods_of_a_deployment_restart_one_at_a_time(world: Restarting, name: str) -> None:
    pods = await world.deploy(name, 3)

    await asyncio.gather(*(world.annotate(pod, colour="blue") for pod in pods))
    after = [await world.restarted(pod, 1) for pod in pods]

    assert [await colours(world, pod) for pod in after] == [["red", "blue"]] * 3
    ends = sorted(((world.terms(pod)[0], world.starts(pod)[1].at) for pod in after), key=min)
    assert all(started <= next_end for (_, started), (next_end, _) in itertools.pairwise(ends))
    await world.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{name}")


VALUES = {
    "newline": "two\nlines",
    "blanks": "  blanks ",
    "equals": "a=b=c",
    "unicode": "grün ✓",
    "empty": "",
    "long": "x" * 32 * 1024,
    "template": "$(HOME) {{ x }} `id`",
}


async def test_any_value_reaches_its_container_by_one_restart(world: Restarting, name: str) -> None:
    pods = {f"{name}-{kind}": value for kind, value in VALUES.items()}
    await asyncio.gather(*(world.create(pod) for pod in pods))
    await asyncio.gather(*(world.in_sync(pod) for pod in pods))

    await asyncio.gather(*(world.annotate(pod, colour=value) for pod, value in pods.items()))
    after = [await world.restarted(pod, 1) for pod in pods]

    await asyncio.sleep(QUIET)
    assert [restart_count(await world.pod(pod)) for pod in pods] == [1] * len(pods)
    assert [world.lines(pod, "app-starts")[1].partition(" ")[2] for pod in after] == [
        value.split("\n")[0] for value in VALUES.values()
    ]


async def test_image_and_environment_together_are_one_restart(world: Restarting, name: str) -> None:
    await world.create(name)
    await world.in_sync(name)
    other = f"{world.image.name}:v2"

    await world.patch(
        name,
        {
            "metadata": {"annotations": {"colour": "blue"}},
            "spec": {"containers": [{"name": "app", "image": other}]},
        },
        "strategic",
    )
    after = await world.restarted(name, 1)

    assert await colours(world, after) == ["red", "blue"]
    assert planned(await world.pod(name)) == 1


async def test_several_patches_in_a_row_are_one_restart(world: Restarting, name: str) -> None:
    await world.create(name)
    await world.in_sync(name)

    for colour in ("orange", "yellow", "green", "blue"):
        await world.annotate(name, colour=colour)
    after = await world.restarted(name, 1)

    assert await colours(world, after) == ["red", "blue"]


async def test_the_same_value_again_is_no_restart(world: Restarting, name: str) -> None:
    await world.create(name)
    await world.in_sync(name)

    await world.annotate(name, colour="red", other="thing")
    await world.annotate(name, colour="blue")
    await world.annotate(name, colour="red")

    pod = await world.in_sync(name)
    assert await colours(world, pod) == ["red"]
    assert planned(await world.pod(name)) == 0


async def test_a_change_during_a_restart_is_not_lost(world: Restarting, name: str) -> None:
    await world.create(name)
    await world.in_sync(name)

    await world.annotate(name, colour="blue")
    await world.until(name, lambda pod: len(world.terms(pod)) == 1, "the first stop")
    await world.annotate(name, colour="green")

    after = await world.until(
        name,
        lambda pod: world.starts(pod)[-1].colour == "green" and condition(pod).get("status") == "True",
        "green",
    )
    found = await colours(world, after)
    assert found in (["red", "green"], ["red", "blue", "green"])
    assert planned(await world.pod(name)) == len(found) - 1


async def test_a_second_restart_does_not_wait_for_the_back_off(world: Restarting, name: str) -> None:
    (pod,) = await world.deploy(name, 1)
    await world.annotate(pod, colour="blue")
    await world.restarted(pod, 1)

    await world.annotate(pod, colour="green")
    after = await world.restarted(pod, 2, timeout=8.0)

    assert await colours(world, after) == ["red", "blue", "green"]
    assert after["spec"]["containers"][0]["image"] == (
        f"{world.image.name}:inplaced-restart-2@{world.image.digest}"
    )
    await world.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{name}")


async def test_an_unavoidable_back_off_is_told_with_its_end(world: Restarting, name: str) -> None:
    await world.create(name)
    await world.in_sync(name)
    await world.annotate(name, colour="blue")
    await world.restarted(name, 1)

    await world.annotate(name, colour="green")
    waiting = await world.until(name, lambda pod: condition(pod).get("reason") == "BackOff", "back-off")

    assert "waits in back-off until 20" in condition(waiting)["message"]
    after = await world.restarted(name, 2)
    assert await colours(world, after) == ["red", "blue", "green"]


async def test_pre_stop_runs_before_the_signal(world: Restarting, name: str) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /count/app-terms"]}}}
    await world.create(name, container={"lifecycle": hook})
    await world.in_sync(name)

    await world.annotate(name, colour="blue")
    after = await world.restarted(name, 1)

    lines = world.lines(after, "app-terms")
    assert (lines[0], len(lines)) == ("hook", 2)


async def test_a_command_that_depends_on_a_label_follows_it(world: Restarting, name: str) -> None:
    script = 'echo "0 $0" >> /count/app-starts; trap "exit 0" TERM; while :; do sleep 3600 & wait; done'
    await world.create(name, container={"command": ["sh", "-c"], "args": [script, "<$(COLOUR)>"]})
    await world.in_sync(name)

    await world.annotate(name, colour="blue")
    after = await world.restarted(name, 1)

    assert await colours(world, after) == ["<red>", "<blue>"]


async def test_a_native_sidecar_restarts_alone(world: Restarting, name: str) -> None:
    sidecar = {**counter("log", world.image.ref), "restartPolicy": "Always"}
    plain = {"name": "app", "image": world.image.ref, "env": [], "command": ["sleep", "3600"]}
    await world.create(name, spec={"initContainers": [sidecar], "containers": [plain]})
    await world.in_sync(name)

    await world.annotate(name, colour="blue")
    after = await world.until(name, lambda pod: planned(pod, "log") == 1, "the sidecar's restart")
    after = await world.in_sync(name)

    assert await colours(world, after, "log") == ["red", "blue"]
    assert restart_count(after) == 0


async def test_an_update_in_place_restarts_and_openkruise_is_told(world: Restarting, name: str) -> None:
    owner = await kruise_owner(world)
    gates = {"readinessGates": [{"conditionType": "InPlaceUpdateReady"}]}
    await world.create(name, annotations=NOT_OPTED_IN, owner=owner, spec=gates)
    await world.in_sync(name)

    await world.annotate(name, colour="blue")
    idle = await world.until(name, lambda pod: condition(pod)["reason"] == "Drifted", "drifted")
    assert restart_count(idle) == 0
    await world.patch(f"{name}/status", {"status": {"conditions": [UPDATING]}}, "strategic")
    after = await world.restarted(name, 1)

    assert await colours(world, after) == ["red", "blue"]
    told = json.loads(after["metadata"]["annotations"]["apps.kruise.io/runtime-containers-meta"])
    status = after["status"]["containerStatuses"][0]
    assert told["containers"] == [
        {
            "name": "app",
            "containerID": status["containerID"],
            "restartCount": 1,
            "hashes": {
                "plainHash": plain_hash("app", world.image.ref),
                "extractedEnvFromMetadataHash": environment_hash({"COLOUR": "blue"}),
            },
        }
    ]


@pytest.mark.parametrize("value", ["x" * 100 * 1024, "a\x00b"], ids=["100 KiB", "binary"])
async def test_a_value_that_no_program_could_start_with_is_an_error_and_nothing_else(
    world: Restarting, name: str, value: str
) -> None:
    await world.create(name)
    await world.in_sync(name)

    await world.annotate(name, colour=value)
    refused = await world.until(name, lambda pod: condition(pod)["reason"] == "Failed", "the error")

    assert "COLOUR would" in condition(refused)["message"]
    assert await colours(world, refused) == ["red"]
    await world.annotate(name, colour="blue")
    after = await world.restarted(name, 1)
    assert await colours(world, after) == ["red", "blue"]


async def test_a_deletion_during_the_pre_stop_wins(world: Restarting, name: str) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "touch /count/hook; sleep 60"]}}}
    await world.create(name, container={"lifecycle": hook}, spec={"terminationGracePeriodSeconds": 60})
    pod = await world.in_sync(name)
    await world.annotate(name, colour="blue")
    await world.until(name, lambda pod: (world.directory(pod) / "hook").exists(), "the hook")

    await world.delete(name, grace=1)

    await world.gone(name, timeout=20.0)
    assert [each.colour for each in world.starts(pod)] in ([], ["red"])


async def test_an_agent_that_dies_at_any_moment_restarts_each_container_once(
    world: Restarting, name: str
) -> None:
    pods = [f"{name}-{number}" for number in range(4)]
    for pod in pods:
        await world.create(pod)
    for pod in pods:
        await world.in_sync(pod)

    for number, pod in enumerate(pods):
        await world.annotate(pod, colour="blue")
        await asyncio.sleep(0.05 * number)
        await world.agent.kill()
        await world.agent.start()
    after = [await world.restarted(pod, 1) for pod in pods]

    assert [await colours(world, pod) for pod in after] == [["red", "blue"]] * 4
    assert [planned(await world.pod(pod)) for pod in pods] == [1] * 4


async def test_a_pod_that_waits_for_a_controller_says_so(world: Restarting, name: str) -> None:
    (pod,) = await world.deploy(name, 1)
    await world.centre.process.kill()
    try:
        await world.annotate(pod, colour="blue")
        waiting = await world.until(pod, lambda seen: condition(seen)["reason"] == "Waiting", "waiting")
    finally:
        world.centre.process.start()

    assert "waits for the controller" in condition(waiting)["message"]
    after = await world.restarted(pod, 1)
    assert await colours(world, after) == ["red", "blue"]
    await world.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{name}")


async def test_a_pod_that_did_not_opt_in_is_left_alone(world: Restarting, name: str) -> None:
    assert OPTED_IN.keys() == NOT_OPTED_IN.keys()
    await world.create(name, annotations=NOT_OPTED_IN)
    await world.in_sync(name)

    await world.annotate(name, colour="blue")
    idle = await world.until(name, lambda pod: condition(pod)["reason"] == "Drifted", "drifted")

    assert await colours(world, idle) == ["red"]
