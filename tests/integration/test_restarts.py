"""Containers of pods on a real kubelet, restarted in place when labels or annotations that they read change.

How often a container really started, and with what, is counted by itself.
"""

import asyncio
import itertools
import json
from typing import Any

import pytest

from daemon.objects.container_hashes import environment_hash, plain_hash
from tests.testbed.cluster import Cluster
from tests.testbed.counting import OPTED_IN, condition, counter, planned, restart_count
from tests.testbed.restarting import QUIET, Restarting, restarting
from tests.testbed.session import Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.integration]

UPDATING = {"type": "InPlaceUpdateReady", "status": "False", "reason": "StartInPlaceUpdate"}
NOT_OPTED_IN = {"inplaced.dev/restart-on-metadata-change": "false"}


async def kruise_owner(bed: Restarting) -> dict[str, Any]:
    """An object of OpenKruise's group that has no pods of its own to care for."""
    node = await bed.api.get(f"/apis/apps.kruise.io/v1beta1/nodeimages/{bed.cluster.node}")
    names = {"name": bed.cluster.node, "uid": node["metadata"]["uid"]}
    return {"apiVersion": "apps.kruise.io/v1beta1", "kind": "NodeImage", "controller": True, **names}


async def test_a_bare_pod_gets_its_new_environment_in_place(bed: Restarting, web: str) -> None:
    before = await bed.create(web, containers=[{"name": "other", "image": bed.image.ref}])
    before = await bed.in_sync(web)

    await bed.annotate(web, colour="blue")
    after = await bed.restarted(web, 1)

    assert await bed.colours(after) == ["red", "blue"]
    assert (planned(after), restart_count(after), restart_count(after, "other")) == (1, 1, 0)
    same = [("metadata", "uid"), ("status", "podIP"), ("spec", "nodeName")]
    assert [after[part][key] for part, key in same] == [before[part][key] for part, key in same]
    told = [each[1:] for each in await bed.events(web) if each[0] == "inplaced.dev/agent"]
    assert told == [("Killing", "Stopping container app: labels or annotations of the pod changed COLOUR")]


async def test_pods_of_a_deployment_restart_one_at_a_time(bed: Restarting, web: str) -> None:
    pods = await bed.deploy(web, 3)

    await asyncio.gather(*(bed.annotate(pod, colour="blue") for pod in pods))
    after = [await bed.restarted(pod, 1) for pod in pods]

    assert [await bed.colours(pod) for pod in after] == [["red", "blue"]] * 3
    ends = sorted(((bed.terms(pod)[0], bed.starts(pod)[1].at) for pod in after), key=min)
    assert all(started <= next_end for (_, started), (next_end, _) in itertools.pairwise(ends))
    await bed.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{web}")


VALUES = {
    "newline": "two\nlines",
    "blanks": "  blanks ",
    "equals": "a=b=c",
    "unicode": "grün ✓",
    "empty": "",
    "long": "x" * 32 * 1024,
    "template": "$(HOME) {{ x }} `id`",
}


async def test_any_value_reaches_its_container_by_one_restart(bed: Restarting, web: str) -> None:
    pods = {f"{web}-{kind}": value for kind, value in VALUES.items()}
    await asyncio.gather(*(bed.create(pod) for pod in pods))
    await asyncio.gather(*(bed.in_sync(pod) for pod in pods))

    await asyncio.gather(*(bed.annotate(pod, colour=value) for pod, value in pods.items()))
    after = [await bed.restarted(pod, 1) for pod in pods]

    await asyncio.sleep(QUIET)
    assert [restart_count(await bed.pod(pod)) for pod in pods] == [1] * len(pods)
    assert [bed.lines(pod, "app-starts")[1].partition(" ")[2] for pod in after] == [
        value.split("\n")[0] for value in VALUES.values()
    ]


async def test_image_and_environment_together_are_one_restart(bed: Restarting, web: str) -> None:
    await bed.create(web)
    await bed.in_sync(web)
    other = f"{bed.image.name}:v2"

    await bed.patch(
        web,
        {
            "metadata": {"annotations": {"colour": "blue"}},
            "spec": {"containers": [{"name": "app", "image": other}]},
        },
        "strategic",
    )
    after = await bed.restarted(web, 1)

    assert await bed.colours(after) == ["red", "blue"]
    assert planned(await bed.pod(web)) == 1


async def test_several_patches_in_a_row_are_one_restart(bed: Restarting, web: str) -> None:
    await bed.create(web)
    await bed.in_sync(web)

    for colour in ("orange", "yellow", "green", "blue"):
        await bed.annotate(web, colour=colour)
    after = await bed.restarted(web, 1)

    assert await bed.colours(after) == ["red", "blue"]


async def test_the_same_value_again_is_no_restart(bed: Restarting, web: str) -> None:
    await bed.create(web)
    await bed.in_sync(web)

    await bed.annotate(web, colour="red", other="thing")
    await bed.annotate(web, colour="blue")
    await bed.annotate(web, colour="red")

    pod = await bed.in_sync(web)
    assert await bed.colours(pod) == ["red"]
    assert planned(await bed.pod(web)) == 0


async def test_a_change_during_a_restart_is_not_lost(bed: Restarting, web: str) -> None:
    (pod,) = await bed.deploy(web, 1)

    await bed.annotate(pod, colour="blue")
    await bed.until(pod, lambda seen: len(bed.terms(seen)) == 1, "the first stop")
    await bed.annotate(pod, colour="green")

    after = await bed.until(
        pod,
        lambda seen: bed.starts(seen)[-1].colour == "green" and condition(seen).get("status") == "True",
        "green",
    )
    found = await bed.colours(after)
    assert found in (["red", "green"], ["red", "blue", "green"])
    assert planned(await bed.pod(pod)) == len(found) - 1
    await bed.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{web}")


async def test_a_second_restart_does_not_wait_for_the_back_off(bed: Restarting, web: str) -> None:
    (pod,) = await bed.deploy(web, 1)
    await bed.annotate(pod, colour="blue")
    await bed.restarted(pod, 1)

    await bed.annotate(pod, colour="green")
    after = await bed.restarted(pod, 2, timeout=8.0)

    assert await bed.colours(after) == ["red", "blue", "green"]
    assert after["spec"]["containers"][0]["image"] == (
        f"{bed.image.name}:inplaced-restart-2@{bed.image.digest}"
    )
    await bed.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{web}")


async def test_pre_stop_runs_before_the_signal(bed: Restarting, web: str) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /count/app-terms"]}}}
    await bed.create(web, container={"lifecycle": hook})
    await bed.in_sync(web)

    await bed.annotate(web, colour="blue")
    after = await bed.restarted(web, 1)

    lines = bed.lines(after, "app-terms")
    assert (lines[0], len(lines)) == ("hook", 2)


async def test_a_command_that_depends_on_a_label_follows_it(bed: Restarting, web: str) -> None:
    script = 'echo "0 $0" >> /count/app-starts; trap "exit 0" TERM; while :; do sleep 3600 & wait; done'
    await bed.create(web, container={"command": ["sh", "-c"], "args": [script, "<$(COLOUR)>"]})
    await bed.in_sync(web)

    await bed.annotate(web, colour="blue")
    after = await bed.restarted(web, 1)

    assert await bed.colours(after) == ["<red>", "<blue>"]


async def test_a_native_sidecar_restarts_alone(bed: Restarting, web: str) -> None:
    sidecar = {**counter("log", bed.image.ref), "restartPolicy": "Always"}
    plain = {"name": "app", "image": bed.image.ref, "env": [], "command": ["sleep", "3600"]}
    await bed.create(web, spec={"initContainers": [sidecar], "containers": [plain]})
    await bed.in_sync(web)

    await bed.annotate(web, colour="blue")
    after = await bed.until(web, lambda pod: planned(pod, "log") == 1, "the sidecar's restart")
    after = await bed.in_sync(web)

    assert await bed.colours(after, "log") == ["red", "blue"]
    assert restart_count(after) == 0


async def test_an_update_in_place_restarts_and_openkruise_is_told(bed: Restarting, web: str) -> None:
    owner = await kruise_owner(bed)
    gates = {"readinessGates": [{"conditionType": "InPlaceUpdateReady"}]}
    await bed.create(web, annotations=NOT_OPTED_IN, owner=owner, spec=gates)
    await bed.in_sync(web)

    await bed.annotate(web, colour="blue")
    idle = await bed.until(web, lambda pod: condition(pod)["reason"] == "Drifted", "drifted")
    assert restart_count(idle) == 0
    await bed.patch(f"{web}/status", {"status": {"conditions": [UPDATING]}}, "strategic")
    after = await bed.restarted(web, 1)

    assert await bed.colours(after) == ["red", "blue"]
    told = json.loads(after["metadata"]["annotations"]["apps.kruise.io/runtime-containers-meta"])
    status = after["status"]["containerStatuses"][0]
    assert told["containers"] == [
        {
            "name": "app",
            "containerID": status["containerID"],
            "restartCount": 1,
            "hashes": {
                "plainHash": plain_hash("app", bed.image.ref),
                "extractedEnvFromMetadataHash": environment_hash({"COLOUR": "blue"}),
            },
        }
    ]


async def test_a_pod_that_did_not_opt_in_is_left_alone(bed: Restarting, web: str) -> None:
    assert OPTED_IN.keys() == NOT_OPTED_IN.keys()
    await bed.create(web, annotations=NOT_OPTED_IN)
    await bed.in_sync(web)

    await bed.annotate(web, colour="blue")
    idle = await bed.until(web, lambda pod: condition(pod)["reason"] == "Drifted", "drifted")

    assert await bed.colours(idle) == ["red"]


async def test_the_newer_runtime_keeps_the_same_record(testbed: Session, web: str) -> None:
    cluster = Cluster(testbed.new_directory("k"), "2.3")
    try:
        await cluster.start()
        async with restarting(cluster) as bed:
            await bed.create(web)
            await bed.in_sync(web)
            await bed.annotate(web, colour="blue")
            after = await bed.restarted(web, 1)

            assert await bed.colours(after) == ["red", "blue"]
    finally:
        await cluster.stop()
        cluster.remove()
