"""How many pods a CloneSet has: made, deleted, replaced, with the claims that they mount."""

from typing import Any

import pytest

from daemon import names
from tests.fakes.following import until
from tests.functional.cloneset_world import LABELS, NAMESPACE, cloneset_world, spec

CLAIMS = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]


async def test_a_new_set_gets_its_pods_and_says_so() -> None:
    async with cloneset_world() as world:
        world.apply(spec(3))

        status = await world.settled()

        counts = {key: value for key, value in status.items() if key.endswith("eplicas")}
        assert counts == {
            "replicas": 3,
            "readyReplicas": 3,
            "availableReplicas": 3,
            "updatedReplicas": 3,
            "updatedReadyReplicas": 3,
            "updatedAvailableReplicas": 3,
            "expectedUpdatedReplicas": 3,
        }
        assert status["labelSelector"] == "app=web"
        assert status["currentRevision"] == status["updateRevision"]


async def test_pods_carry_openkruise_s_names_labels_and_gates() -> None:
    async with cloneset_world() as world:
        world.apply(spec(1, updateStrategy={"type": "InPlaceIfPossible"}))

        status = await world.settled()

        (pod,) = world.pods()
        labels = pod["metadata"]["labels"]
        assert pod["metadata"]["name"] == f"web-{labels[names.INSTANCE_ID_LABEL]}"
        assert labels == {
            **LABELS,
            "apps.kruise.io/cloneset-instance-id": labels[names.INSTANCE_ID_LABEL],
            "controller-revision-hash": status["updateRevision"],
            "pod-template-hash": status["updateRevision"].removeprefix("web-"),
            "lifecycle.apps.kruise.io/state": "Normal",
        }
        gates = {each["conditionType"] for each in pod["spec"]["readinessGates"]}
        assert gates == {"InPlaceUpdateReady", "KruisePodReady"}
        (owner,) = pod["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("CloneSet", "web", True)


async def test_a_pod_costs_two_writes() -> None:
    async with cloneset_world() as world:
        world.apply(spec(4))

        await world.settled()

        about_pods = [each for each in world.writes() if " pods" in each]
        assert sorted(about_pods) == ["create pods"] * 4 + ["patch pods/status"] * 4


async def test_it_is_scaled_up_and_down() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2))
        await world.settled()
        before = world.uids()

        world.change(replicas=5)
        await world.settled()
        more = world.uids()
        world.change(replicas=0)
        await world.settled()

        assert (len(more), before < more, world.pods()) == (5, True, [])


async def test_a_deleted_pod_is_replaced() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2))
        await world.settled()
        first = world.pods()[0]["metadata"]

        world.server.remove("pods", first["name"], NAMESPACE)
        await world.until(lambda: len(world.pods()) == 2)

        assert first["uid"] not in world.uids()


@pytest.mark.parametrize("how", ["label", "podsToDelete"])
async def test_a_pod_that_somebody_points_at_is_replaced(how: str) -> None:
    async with cloneset_world() as world:
        world.apply(spec(3))
        await world.settled()
        pod = world.pods()[1]["metadata"]

        if how == "label":
            doom = {names.SPECIFIED_DELETE_LABEL: "true"}
            world.patch_pod(pod["name"], lambda it: it["metadata"]["labels"].update(doom))
        else:
            world.change(scaleStrategy={"podsToDelete": [pod["name"]]})
        await world.until(lambda: pod["uid"] not in world.uids() and len(world.pods()) == 3)

        assert (await world.settled())["replicas"] == 3


async def test_the_pod_that_somebody_points_at_goes_first_when_there_are_too_many() -> None:
    async with cloneset_world() as world:
        world.apply(spec(3))
        await world.settled()
        chosen = world.pods()[2]["metadata"]["name"]
        kept = world.uids() - {world.pods()[2]["metadata"]["uid"]}

        world.change(replicas=2, scaleStrategy={"podsToDelete": [chosen]})
        await world.settled()

        assert world.uids() == kept


async def test_available_pods_that_somebody_points_at_are_replaced_one_after_the_other() -> None:
    async with cloneset_world(manual=False) as world:
        world.apply(spec(4, updateStrategy={"maxUnavailable": 1}))
        await world.settled()
        old = world.uids()
        world.kubelet.manual = True

        world.change(scaleStrategy={"podsToDelete": [pod["metadata"]["name"] for pod in world.pods()]})
        await world.until(lambda: len(world.uids() - old) == 1)
        left = world.uids() & old

        assert len(left) == 3


async def test_a_scale_up_waits_for_the_pods_before() -> None:
    async with cloneset_world() as world:
        world.kubelet.broken.add("app:1")
        world.apply(spec(5, scaleStrategy={"maxUnavailable": 2}))

        await world.until(lambda: len(world.pods()) == 2 and world.status().get("replicas") == 2)
        world.kubelet.broken.clear()
        world.kubelet.resume()
        await world.settled()

        assert len(world.pods()) == 5


async def test_claims_are_made_with_a_pod_and_go_with_it() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, volumeClaimTemplates=CLAIMS))
        await world.settled()
        claims = world.server.storage.of("persistentvolumeclaims")

        for pod in world.pods():
            id_ = pod["metadata"]["labels"][names.INSTANCE_ID_LABEL]
            (volume,) = pod["spec"]["volumes"]
            assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": f"data-web-{id_}"}}
            assert claims[NAMESPACE, f"data-web-{id_}"]["metadata"]["labels"][names.INSTANCE_ID_LABEL] == id_
        world.change(replicas=1)
        await world.settled()

        assert len(claims) == 1


async def test_the_claim_of_a_lost_pod_is_mounted_by_its_successor() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, volumeClaimTemplates=CLAIMS))
        await world.settled()
        claims = set(world.server.storage.of("persistentvolumeclaims"))
        lost = world.pods()[0]["metadata"]

        world.server.remove("pods", lost["name"], NAMESPACE)
        await world.until(lambda: len(world.pods()) == 2)

        assert lost["name"] in {pod["metadata"]["name"] for pod in world.pods()}
        assert lost["uid"] not in world.uids()
        assert set(world.server.storage.of("persistentvolumeclaims")) == claims


async def test_the_successor_waits_for_the_end_of_the_pod_whose_claim_it_mounts() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, volumeClaimTemplates=CLAIMS))
        await world.settled()
        claims = set(world.server.storage.of("persistentvolumeclaims"))
        name = world.pods()[0]["metadata"]["name"]
        world.patch_pod(name, lambda it: it["metadata"].update(finalizers=["example.io/slow"]))

        world.server.remove("pods", name, NAMESPACE)
        await world.until(lambda: world.status()["replicas"] == 1)
        meanwhile = len(world.pods())
        world.end_pod(name)
        await world.settled()

        assert meanwhile == 2
        assert name in {pod["metadata"]["name"] for pod in world.pods()}
        assert set(world.server.storage.of("persistentvolumeclaims")) == claims


async def test_the_claim_of_a_lost_pod_goes_where_it_is_not_to_be_used_again() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, volumeClaimTemplates=CLAIMS, scaleStrategy={"disablePVCReuse": True}))
        await world.settled()
        lost = world.pods()[0]["metadata"]
        claim = (NAMESPACE, f"data-{lost['name']}")

        world.server.remove("pods", lost["name"], NAMESPACE)
        await world.until(lambda: claim not in world.server.storage.of("persistentvolumeclaims"))

        await world.until(lambda: len(world.server.storage.of("persistentvolumeclaims")) == 2)


async def test_a_pod_that_no_longer_is_selected_is_let_go_and_replaced() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2))
        await world.settled()
        name = world.pods()[0]["metadata"]["name"]

        world.patch_pod(name, lambda it: it["metadata"]["labels"].update(app="taken-out"))
        await world.until(lambda: len(world.pods()) == 3)

        await world.until(
            lambda: not world.server.document("pods", name, NAMESPACE)["metadata"].get("ownerReferences")
        )


@pytest.mark.parametrize("disabled", [False, True])
async def test_a_pod_that_is_let_go_keeps_its_claim(disabled: bool) -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, volumeClaimTemplates=CLAIMS, scaleStrategy={"disablePVCReuse": disabled}))
        await world.settled()
        name = world.pods()[0]["metadata"]["name"]

        world.patch_pod(name, lambda it: it["metadata"]["labels"].update(app="taken-out"))
        await world.until(lambda: len(world.pods()) == 3)
        world.change(replicas=3)
        await world.settled()

        claims = world.server.storage.of("persistentvolumeclaims")
        assert (len(world.pods()), len(claims)) == (4, 4)
        assert "deletionTimestamp" not in claims[NAMESPACE, f"data-{name}"]["metadata"]


async def test_pods_of_a_deleted_set_are_adopted_by_the_next_one() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2))
        await world.settled()
        before = world.uids()
        world.server.storage.delete(world.server.kinds["clonesets"], (NAMESPACE, "web"), "")
        await until(world.sets, lambda: not world.sets.list())
        for pod in world.pods():
            world.patch_pod(pod["metadata"]["name"], lambda it: it["metadata"].pop("ownerReferences"))
        await until(world.known, lambda: not any(pod.metadata.owner_references for pod in world.known.list()))

        world.apply(spec(2), name="web2")
        await world.until(lambda: world.is_settled("web2"))

        assert world.uids() == before


def _refusing(document: Any) -> str:
    return "" if document["spec"]["containers"][0]["image"] != "bad" else "spec.containers[0].image: is bad"


async def test_a_template_that_cannot_be_is_told_by_its_field_and_touches_no_pod() -> None:
    async with cloneset_world() as world:
        world.server.kinds["pods"] = _judging(world.server.kinds["pods"])
        world.apply(spec(2))
        await world.settled()
        before = world.uids()

        world.set_image("bad")
        await world.until(lambda: world.condition(names.STALLED).get("status") == "True")

        assert "is bad" in world.condition(names.STALLED)["message"]
        assert world.condition(names.READY)["reason"] == "InvalidTemplate"
        assert world.uids() == before


async def test_while_a_template_cannot_be_missing_pods_are_made_as_they_were() -> None:
    async with cloneset_world() as world:
        world.server.kinds["pods"] = _judging(world.server.kinds["pods"])
        world.apply(spec(2, updateStrategy={"type": "ReCreate", "maxSurge": 1}))
        await world.settled()
        world.set_image("bad")
        await world.until(lambda: world.condition(names.STALLED).get("status") == "True")
        name = world.pods()[0]["metadata"]["name"]

        world.server.storage.delete(world.server.kinds["pods"], (NAMESPACE, name), "")
        await world.until(lambda: len(world.pods()) == 2)

        assert world.images() == ["app:1", "app:1"]


def _judging(kind: Any) -> Any:
    import dataclasses

    return dataclasses.replace(kind, validate=_refusing)
