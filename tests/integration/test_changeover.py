"""A rollout that OpenKruise's manager began is ended by our controller and agent, on a real kubelet.

The objects are as its manager leaves them when it goes at the worst moment (see ``testbed.handed_over``).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.testbed.counting import counter
from tests.testbed.go_documents import go_time, stored_template
from tests.testbed.handed_over import AT_ONCE, HandedOver, batch, containers, image_id
from tests.testbed.restarting import Restarting
from tests.testbed.sets import condition, identity, status_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def is_ended(left: HandedOver, pod: Mapping[str, Any]) -> bool:
    """Whether the pod is of the newest revision, serves, and nothing of the update is left to do."""
    metadata = pod["metadata"]
    return (
        metadata["labels"]["controller-revision-hash"] == left.revisions[1]
        and metadata["labels"]["pod-template-hash"] == left.revisions[1].rpartition("-")[2]
        and metadata["labels"]["lifecycle.apps.kruise.io/state"] == "Normal"
        and "apps.kruise.io/inplace-update-grace" not in metadata["annotations"]
        and condition(pod, "InPlaceUpdateReady")["status"] == "True"
        and condition(pod, "Ready")["status"] == "True"
    )


async def test_a_pod_at_each_point_of_an_image_change_comes_to_its_end(
    bed: Restarting, left: HandedOver, set_images: tuple[str, str]
) -> None:
    old = containers(set_images[0])
    new = [{**old[0], "image": set_images[1]}, old[1]]
    await left.store(
        stored_template(left.web.name, old),
        stored_template(left.web.name, new),
        replicas=5,
        updateStrategy=AT_ONCE,
    )
    points = ("untouched", "unready", "grace", "patched", "unverified")
    pods = dict(zip(points, await asyncio.gather(*map(left.pod, points)), strict=True))
    before = await left.pods()
    last = {name: {"app": {"imageID": image_id(pod, "app")}} for name, pod in before.items()}
    for point in points[1:]:
        await left.take_out(pods[point])
    waiting = {"revision": left.revisions[1], "containerImages": {"app": set_images[1]}, "graceSeconds": 2}
    await left.begin(pods["grace"], left.state(updateImages=True), grace=waiting)
    for point in ("unverified", "patched"):
        name = pods[point]
        state = left.state(
            updateImages=True, lastContainerStatuses=last[name], containerBatchesRecord=[batch("app")]
        )
        await left.begin(name, state, images={"app": set_images[1]})
        if point == "unverified":
            await left.reach(name, lambda pod: status_of(pod)["restartCount"] == 1, "restarted")

    await bed.start()
    status = await left.web.settled()
    after = await left.pods()

    assert {name: identity(pod) for name, pod in after.items()} == {
        name: identity(pod) for name, pod in before.items()
    }
    for name, pod in after.items():
        assert is_ended(left, pod), pod["metadata"]
        assert status_of(pod)["restartCount"] == 1
        assert status_of(pod)["image"].endswith(":v2")
        assert status_of(pod, "side")["containerID"] == status_of(before[name], "side")["containerID"]
    assert await left.revisions_now() == left.revisions
    assert (status["updateRevision"], status["currentRevision"]) == (left.revisions[1],) * 2
    assert status["updatedAvailableReplicas"] == 5


def reads(name: str, image: str) -> dict[str, Any]:
    """A container that counts its starts and has a variable from an annotation of its own."""
    container = counter(name, image)
    source = {"apiVersion": "v1", "fieldPath": f"metadata.annotations['colour-{name}']"}
    colour = {"name": "COLOUR", "valueFrom": {"fieldRef": source}}
    return {**container, "env": [container["env"][0], colour]}


async def test_environment_and_image_in_batches_go_on_with_the_next_batch(
    bed: Restarting, left: HandedOver
) -> None:
    first, second = bed.image.ref, bed.image.ref.replace(":v1", ":v2")
    red, blue = ({f"colour-{each}": colour for each in ("app", "side")} for colour in ("red", "blue"))
    name = left.web.name
    await left.store(
        stored_template(name, [reads("app", first), reads("side", first)], annotations=red),
        stored_template(name, [reads("app", first), reads("side", second)], annotations=blue),
        replicas=1,
        updateStrategy=AT_ONCE,
    )
    pod = await left.pod("batch", barriers={"app": 1, "side": 0})
    before = (await left.pods())[pod]
    await left.take_out(pod)
    state = left.state(
        updateImages=True,
        updateEnvFromMetadata=True,
        nextContainerImages={"side": second},
        nextContainerRefMetadata={
            "side": {"creationTimestamp": None, "annotations": {"colour-side": "blue"}}
        },
        preCheckBeforeNext={"containersRequiredReady": ["app"]},
        containerBatchesRecord=[batch("app")],
    )
    await left.begin(pod, state, annotations={"colour-app": "blue"})

    await bed.start()
    await left.web.settled()
    after = (await left.pods())[pod]

    assert identity(after) == identity(before)
    assert is_ended(left, after), after["metadata"]
    for container in ("app", "side"):
        assert await bed.colours(after, container) == ["red", "blue"]
        assert status_of(after, container)["restartCount"] == 1
    assert await left.revisions_now() == left.revisions


GUARD = {"guard": "on"}
STATE = "jsonpath={.metadata.labels.lifecycle\\.apps\\.kruise\\.io/state}"


async def test_pods_in_each_state_of_their_life_are_led_on(
    bed: Restarting, left: HandedOver, set_images: tuple[str, str]
) -> None:
    old = containers(set_images[0])[:1]
    new = [{**old[0], "image": set_images[1]}]
    await left.store(
        stored_template(left.web.name, old, labels=GUARD),
        stored_template(left.web.name, new, labels=GUARD),
        replicas=3,
        updateStrategy=AT_ONCE,
        lifecycle={"inPlaceUpdate": {"labelsHandler": GUARD, "markPodNotReady": True}},
    )
    held, changing, changed = await asyncio.gather(*map(left.pod, ("held", "changing", "changed")))
    before = await left.pods()
    blocked = {
        "type": "KruisePodReady",
        "status": "False",
        "lastTransitionTime": go_time(),
        "message": '[{"userAgent":"Lifecycle","key":"preUpdateHook"}]',
    }
    for pod in (held, changing):
        await left.patch(pod, {"status": {"conditions": [blocked]}}, "status")
    await left.patch(held, {"metadata": {"labels": {"lifecycle.apps.kruise.io/state": "PreparingUpdate"}}})
    for pod in (changing, changed):
        await left.take_out(pod)
        last = {"app": {"imageID": image_id(before[pod], "app")}}
        state = left.state(
            updateImages=True, lastContainerStatuses=last, containerBatchesRecord=[batch("app")]
        )
        await left.begin(pod, state, images={"app": set_images[1]})
        await left.patch(pod, {"metadata": {"labels": {"guard": None}}})
    await left.reach(changed, lambda pod: status_of(pod)["restartCount"] == 1, "restarted")
    await left.patch(changed, {"metadata": {"labels": {"lifecycle.apps.kruise.io/state": "Updated"}}})
    kubectl = left.web.api.kubectl

    await bed.start()
    await kubectl("wait", f"pod/{changing}", f"--for={STATE}=Updated", "--timeout=30s")
    now = (await left.pods())[held]
    assert now["metadata"]["labels"]["lifecycle.apps.kruise.io/state"] == "PreparingUpdate"
    assert status_of(now)["restartCount"] == 0
    await kubectl("label", "pod", held, "guard-")
    await kubectl("wait", f"pod/{held}", f"--for={STATE}=Updated", "--timeout=30s")
    await kubectl("label", "pod", held, changing, changed, "guard=on")
    await left.web.settled()
    after = await left.pods()

    assert list(map(identity, after.values())) == list(map(identity, before.values()))
    assert [status_of(pod)["restartCount"] for pod in after.values()] == [1, 1, 1]
    assert all(is_ended(left, pod) for pod in after.values())
    assert {condition(pod, "KruisePodReady")["status"] for pod in after.values()} == {"True"}


async def test_half_a_set_stays_as_it_is_until_its_partition_is_lowered(
    bed: Restarting, left: HandedOver, set_images: tuple[str, str]
) -> None:
    old = containers(set_images[0])[:1]
    new = [{**old[0], "image": set_images[1]}]
    half = {**AT_ONCE, "rollingUpdate": {**AT_ONCE["rollingUpdate"], "partition": 2}}
    await left.store(
        stored_template(left.web.name, old),
        stored_template(left.web.name, new),
        replicas=4,
        updateStrategy=half,
    )
    await asyncio.gather(*(left.pod(f"p{each}", each // 2) for each in range(4)))
    before = await left.pods()

    await bed.start()
    status = await left.web.settled()
    meanwhile = await left.pods()
    await left.web.patch(updateStrategy={"rollingUpdate": {"partition": 0}})
    await left.web.settled()
    after = await left.pods()

    assert (status["updatedReplicas"], status["updateRevision"]) == (2, left.revisions[1])
    assert [status_of(pod)["restartCount"] for pod in meanwhile.values()] == [0, 0, 0, 0]
    assert list(map(identity, after.values())) == list(map(identity, before.values()))
    assert [status_of(pod)["restartCount"] for pod in after.values()] == [1, 1, 0, 0]
    assert await left.revisions_now() == left.revisions


async def test_the_pod_that_was_marked_for_deletion_goes_and_no_other(
    bed: Restarting, left: HandedOver, set_images: tuple[str, str]
) -> None:
    old, new = (containers(each)[:1] for each in set_images)
    await left.store(
        stored_template(left.web.name, old),
        stored_template(left.web.name, new),
        replicas=2,
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"podUpdatePolicy": "ReCreate"}},
    )
    marked, kept = await left.pod("marked", 0), await left.pod("kept", 1)
    before = await left.pods()
    await left.patch(marked, {"metadata": {"labels": {"apps.kruise.io/specified-delete": "true"}}})

    await bed.start()
    await left.web.settled()
    after = await left.pods()

    assert marked not in after
    assert identity(after[kept]) == identity(before[kept])
    assert {pod["metadata"]["labels"]["controller-revision-hash"] for pod in after.values()} == {
        left.revisions[1]
    }
    assert len(after) == 2
