"""CloneSets on a real kubelet, with the controller's own rights: made, scaled, changed in place, replaced."""

import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting
from tests.testbed.sets import PODS, RealSet, condition, identity, make_images, status_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def images(bed: Restarting) -> tuple[str, str]:
    """Two images that differ."""
    return await make_images(bed.cluster)


@pytest_asyncio.fixture(loop_scope="session")
async def web(bed: Restarting, prefix: str) -> AsyncIterator[RealSet]:
    """A set of a name of its own, removed in the end."""
    made = RealSet(bed.api, f"web-{zlib.crc32(prefix.encode()):x}")
    yield made
    await made.discard()


def containers(images: tuple[str, str], *further: str) -> list[dict[str, Any]]:
    return [{"name": name, "image": images[0]} for name in ("app", *further)]


async def test_an_image_changes_in_place(web: RealSet, images: tuple[str, str]) -> None:
    await web.apply(web.document(containers(images, "side"), replicas=3, updateStrategy=IN_PLACE))
    await web.settled()
    before = await web.pods()

    await web.set_image(images[1])
    await web.settled()
    after = await web.pods()

    assert list(map(identity, after)) == list(map(identity, before))
    for old, new in zip(before, after, strict=True):
        assert status_of(new, "side")["containerID"] == status_of(old, "side")["containerID"]
        assert status_of(new, "side")["restartCount"] == 0
        assert status_of(new)["containerID"] != status_of(old)["containerID"]
        assert status_of(new)["restartCount"] == 1
        assert status_of(new)["image"].endswith(":v2")
        assert condition(new, names.READY)["status"] == "True"


async def test_another_change_replaces_the_pods(web: RealSet, images: tuple[str, str]) -> None:
    await web.apply(web.document(containers(images), replicas=2, updateStrategy=IN_PLACE))
    await web.settled()
    before = {pod["metadata"]["uid"] for pod in await web.pods()}

    await web.patch(template={"spec": {"dnsPolicy": "Default"}})
    await web.settled()

    assert not before & {pod["metadata"]["uid"] for pod in await web.pods()}


async def test_a_partition_a_full_rollout_and_a_roll_back(web: RealSet, images: tuple[str, str]) -> None:
    partly = {**IN_PLACE, "partition": 1}
    await web.apply(web.document(containers(images), replicas=2, updateStrategy=partly))
    first = await web.settled()

    await web.set_image(images[1])
    half = await web.settled()
    await web.patch(updateStrategy={"partition": 0})
    whole = await web.settled()
    await web.set_image(images[0])
    back = await web.settled()

    assert [each["updatedReplicas"] for each in (half, whole, back)] == [1, 2, 2]
    assert back["updateRevision"] == first["updateRevision"] == back["currentRevision"]
    assert [status_of(pod)["restartCount"] for pod in await web.pods()] == [2, 2]


async def test_hooks_hold_a_pod_until_it_is_let_go(web: RealSet, images: tuple[str, str]) -> None:
    guard = {"labelsHandler": {"guard": "on"}}
    document = web.document(
        containers(images),
        replicas=1,
        updateStrategy=IN_PLACE,
        lifecycle={"inPlaceUpdate": {**guard, "markPodNotReady": True}, "preDelete": guard},
        template={"metadata": {"labels": {"app": web.name, "guard": "on"}}},
    )
    await web.apply(document)
    await web.settled()
    (pod,) = await web.pods()
    name = pod["metadata"]["name"]
    state = "jsonpath={.metadata.labels.lifecycle\\.apps\\.kruise\\.io/state}"

    await web.set_image(images[1])
    await web.api.kubectl("wait", f"pod/{name}", f"--for={state}=PreparingUpdate", "--timeout=20s")
    await web.api.kubectl("wait", f"pod/{name}", "--for=condition=Ready=false", "--timeout=20s")
    await web.api.kubectl("label", "pod", name, "guard-")
    await web.api.kubectl("wait", f"pod/{name}", f"--for={state}=Updated", "--timeout=20s")
    await web.api.kubectl("label", "pod", name, "guard=on")
    await web.settled()
    await web.patch(replicas=0)
    await web.api.kubectl("wait", f"pod/{name}", f"--for={state}=PreparingDelete", "--timeout=20s")
    await web.api.kubectl("label", "pod", name, "guard-")
    await web.settled()

    assert await web.pods() == []


async def test_a_template_that_kubernetes_refuses_touches_no_pod(
    web: RealSet, images: tuple[str, str]
) -> None:
    await web.apply(web.document(containers(images), replicas=1, updateStrategy=IN_PLACE))
    await web.settled()
    (before,) = await web.pods()

    await web.patch(template={"spec": {"containers": [{"name": "app", "image": images[1], "ports": [{}]}]}})
    told = await web.says(names.STALLED, "True")
    (after,) = await web.pods()

    assert "spec.template.spec.containers[0].ports[0].containerPort" in told["message"]
    assert identity(after) == identity(before)
    assert status_of(after)["restartCount"] == 0


async def test_claims_are_made_with_the_pods(web: RealSet, images: tuple[str, str]) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    await web.apply(web.document(containers(images), replicas=1, volumeClaimTemplates=[claim]))
    await web.api.kubectl(
        "wait", f"cloneset/{web.name}", "--for=jsonpath={.status.replicas}=1", "--timeout=20s"
    )
    (pod,) = await web.pods()
    (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "data"]
    claims = (
        f"/api/v1/namespaces/default/persistentvolumeclaims/{volume['persistentVolumeClaim']['claimName']}"
    )

    stored = await web.api.get(claims)

    assert stored["metadata"]["ownerReferences"][0]["name"] == web.name
    assert stored["metadata"]["name"] == f"data-{pod['metadata']['name']}"


async def test_a_pod_that_is_evicted_is_replaced(web: RealSet, images: tuple[str, str]) -> None:
    await web.apply(web.document(containers(images), replicas=1))
    await web.settled()
    (pod,) = await web.pods()

    await web.api.request("DELETE", f"{PODS}/{pod['metadata']['name']}")

    async def replaced() -> bool:
        others = [each for each in await web.pods() if each["metadata"]["uid"] != pod["metadata"]["uid"]]
        return any(condition(each, names.READY).get("status") == "True" for each in others)

    await until(replaced, timeout=20.0, what="a successor that is ready", pause=0.05)
    assert (await web.settled())["availableReplicas"] == 1


async def test_it_is_made_scaled_and_removed(web: RealSet, images: tuple[str, str]) -> None:
    await web.apply(web.document(containers(images), replicas=2))
    made = await web.settled()
    await web.api.kubectl("scale", "cloneset", web.name, "--replicas=3")
    more = await web.settled()
    await web.api.kubectl("scale", "cloneset", web.name, "--replicas=1")
    less = await web.settled()

    await web.delete()

    assert [each["availableReplicas"] for each in (made, more, less)] == [2, 3, 1]


async def test_pods_that_are_let_go_in_mid_update_serve_and_the_set_made_anew_changes_them(
    web: RealSet, images: tuple[str, str]
) -> None:
    def asked(grace: int) -> dict[str, Any]:
        return {**IN_PLACE, "inPlaceUpdateStrategy": {"gracePeriodSeconds": grace}}

    async def all_say(status: str) -> bool:
        pods = await web.pods()
        return {condition(pod, names.READY).get("status") for pod in pods} == {status}

    await web.apply(web.document(containers(images), replicas=2, updateStrategy=asked(600)))
    await web.settled()
    before = await web.pods()
    await web.set_image(images[1])
    await until(lambda: all_say("False"), timeout=60, what="both pods to be out of traffic", pause=0.05)

    await web.api.kubectl("delete", "cloneset", web.name, "--cascade=orphan")
    await until(lambda: all_say("True"), timeout=60, what="both pods to be back in traffic", pause=0.05)
    let_go = await web.pods()
    await web.apply(web.document(containers((images[1], "")), replicas=2, updateStrategy=asked(1)))
    await web.settled()
    after = await web.pods()

    assert [status_of(pod)["restartCount"] for pod in let_go] == [0, 0]
    assert list(map(identity, after)) == list(map(identity, let_go)) == list(map(identity, before))
    assert [status_of(pod)["restartCount"] for pod in after] == [1, 1]
