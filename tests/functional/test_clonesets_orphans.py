"""Pods that a CloneSet lets go: nothing that was begun on them is left, and the set made anew keeps them."""

import copy
from typing import Any

from daemon import names
from daemon.localpods.indexes import orphans_of
from tests.fakes.following import until
from tests.functional.cloneset_world import LABELS, NAMESPACE, CloneSetWorld, cloneset_world, spec
from tests.functional.test_clonesets_faults import restarts

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}
SLOWLY = {**IN_PLACE, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 600}}
OWNED = ("controllerrevisions", "pods")


def shut(world: CloneSetWorld) -> list[str]:
    """Pods that are out of traffic."""
    return [
        pod["metadata"]["name"]
        for pod in world.pods()
        for each in pod.get("status", {}).get("conditions", ())
        if each["type"] == "Ready" and each["status"] != "True"
    ]


async def _orphan(world: CloneSetWorld) -> None:
    """Delete the set as ``kubectl delete --cascade=orphan`` does."""
    server = world.server
    held = copy.deepcopy(dict(world.stored()))
    del held["metadata"]["resourceVersion"]
    server.store("clonesets", {**held, "metadata": {**held["metadata"], "finalizers": ["orphan"]}})
    server.remove("clonesets", "web", NAMESPACE)
    for plural in OWNED:
        for name in [name for _, name in server.storage.of(plural)]:
            _disown(world, plural, name)
    kind, stored = server.kinds["clonesets"], world.stored()
    free = {key: each for key, each in stored["metadata"].items() if key != "finalizers"}
    server.storage.update(kind, (NAMESPACE, "web"), {**stored, "metadata": free}, status=False)
    await until(world.known, lambda: all(map(orphans_of, world.known.list())))


def _disown(world: CloneSetWorld, plural: str, name: str) -> None:
    stored = world.server.document(plural, name, NAMESPACE)
    metadata = {key: each for key, each in stored["metadata"].items() if key != "ownerReferences"}
    kind = world.server.kinds[plural]
    world.server.storage.update(kind, (NAMESPACE, name), {**stored, "metadata": metadata}, status=False)


def _reasons(world: CloneSetWorld) -> set[str]:
    return {reason for reason, _ in world.events()}


async def _out(world: CloneSetWorld, **strategy: Any) -> None:
    """Have a set whose pod is out of traffic to change."""
    world.apply(spec(1, updateStrategy={**IN_PLACE, **strategy}))
    await world.settled()
    world.kubelet.manual = True
    world.set_image("app:2")
    await world.until(lambda: shut(world) != [])


async def test_a_pod_whose_set_goes_without_it_comes_back_once_it_runs_what_was_written_to_it() -> None:
    async with cloneset_world() as world:
        await _out(world)
        await world.until(lambda: world.images() == ["app:2"])

        await _orphan(world)
        before = shut(world)
        world.kubelet.resume()
        await world.until(lambda: shut(world) == [])

        assert len(before) == 1
        assert (world.images(), restarts(world)) == (["app:2"], [1])
        await world.until(lambda: "InPlaceUpdateAbandoned" in _reasons(world))


async def test_a_pod_whose_set_goes_without_it_comes_back_unchanged_within_its_grace_period() -> None:
    async with cloneset_world() as world:
        await _out(world, **SLOWLY)

        await _orphan(world)
        world.kubelet.resume()
        await world.until(lambda: shut(world) == [])

        assert (world.images(), restarts(world)) == (["app:1"], [0])


async def test_whoever_adopts_such_a_pod_makes_the_change_that_waited_out_of_traffic() -> None:
    async with cloneset_world() as world:
        await _out(world, **SLOWLY)
        await _orphan(world)
        world.kubelet.resume()
        await world.until(lambda: shut(world) == [])
        uids = world.uids()

        quickly = {**IN_PLACE, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 1}}
        world.apply(spec(1, image="app:2", updateStrategy=quickly))
        await world.until(lambda: shut(world) != [])
        await world.settled()

        assert (world.uids(), world.images(), restarts(world), shut(world)) == (uids, ["app:2"], [1], [])


async def test_a_pod_that_is_taken_out_of_its_set_comes_back_and_is_not_changed_any_more() -> None:
    async with cloneset_world() as world:
        await _out(world, **SLOWLY)
        (name,) = shut(world)

        world.patch_pod(name, lambda it: it["metadata"]["labels"].update(app="debugged"))
        world.kubelet.resume()
        await world.until(lambda: shut(world) == [] and len(world.pods()) == 2)

        kept = world.server.document("pods", name, NAMESPACE)
        assert kept["spec"]["containers"][0]["image"] == "app:1"


async def test_an_update_hook_keeps_no_pod_out_of_traffic_that_nobody_updates() -> None:
    hook = {"inPlaceUpdate": {"labelsHandler": {"drain": "yes"}, "markPodNotReady": True}}
    async with cloneset_world() as world:
        made = spec(1, updateStrategy=IN_PLACE, lifecycle=hook)
        made["template"]["metadata"]["labels"] = {**LABELS, "drain": "yes"}
        world.apply(made)
        await world.settled()
        world.set_image("app:2")
        await world.until(lambda: shut(world) != [])

        await _orphan(world)
        await world.until(lambda: shut(world) == [])

        assert world.images() == ["app:1"]


async def test_no_pod_of_a_set_that_is_being_deleted_begins_to_change() -> None:
    living: set[str] = set()
    source = {"fieldRef": {"fieldPath": "metadata.annotations['config']"}}
    async with cloneset_world(alive=living.__contains__) as world:
        made = spec(1, updateStrategy=IN_PLACE)
        made["template"]["spec"]["containers"][0]["env"] = [{"name": "CONFIG", "valueFrom": source}]
        made["template"]["metadata"]["annotations"] = {"config": "one"}
        world.apply(made, finalizers=["kept"])
        await world.settled()
        template = copy.deepcopy(made["template"])
        template["metadata"]["annotations"] = {"config": "two"}
        world.change(template=template)
        await world.until(lambda: "AgentMissing" in world.condition(names.RECONCILING)["message"])
        world.server.remove("clonesets", "web", NAMESPACE)
        await world.until(lambda: "deletionTimestamp" in world.stored()["metadata"])

        (pod,) = world.pods()
        name = pod["metadata"]["name"]
        living.add(pod["spec"]["nodeName"])
        world.patch_pod(name, lambda it: it["metadata"]["labels"].update(touched="yes"))
        world.apply(spec(1), name="other")
        await world.settled("other")

        assert world.server.document("pods", name, NAMESPACE)["metadata"]["annotations"]["config"] == "one"
        assert "InPlaceUpdateStarted" not in _reasons(world)


async def test_a_set_that_is_made_anew_over_its_pods_replaces_and_restarts_none_of_them() -> None:
    async with cloneset_world() as world:
        strategy = {**IN_PLACE, "partition": 1}
        world.apply(spec(3, updateStrategy=strategy))
        await world.settled()
        world.set_image("app:2")
        await world.settled()
        uids, revisions = world.uids(), set(world.server.storage.of("controllerrevisions"))

        await _orphan(world)
        world.apply(spec(3, image="app:2", updateStrategy=strategy))
        await world.settled()

        assert (world.uids(), sorted(restarts(world))) == (uids, [0, 1, 1])
        assert set(world.server.storage.of("controllerrevisions")) == revisions
        assert len({pod["metadata"]["ownerReferences"][0]["uid"] for pod in world.pods()}) == 1


async def test_the_pods_that_a_set_made_anew_finds_at_an_older_revision_change_in_place() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, updateStrategy=IN_PLACE))
        await world.settled()
        uids = world.uids()

        await _orphan(world)
        world.apply(spec(2, image="app:2", updateStrategy=IN_PLACE))
        await world.settled()

        assert (world.uids(), world.images(), restarts(world)) == (uids, ["app:2"] * 2, [1, 1])
