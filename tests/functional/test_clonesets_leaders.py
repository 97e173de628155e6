"""A new leader finds pods as another left them, and writes nothing that need not be written."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon import names
from tests.fakes.apifaults import Fault
from tests.functional.cloneset_world import NAMESPACE, CloneSetWorld, Cluster, spec, unled

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}
GUARD = {"inPlaceUpdate": {"labelsHandler": {"guard": "on"}}}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with unled() as made:
        yield made


def guard(world: CloneSetWorld, text: str | None) -> None:
    """Put the handler on all pods, or take it off."""
    for pod in world.pods():

        def change(it: dict[str, Any]) -> None:
            it["metadata"]["labels"].update(guard=text)
            if text is None:
                del it["metadata"]["labels"]["guard"]

        world.patch_pod(pod["metadata"]["name"], change)


def states(world: CloneSetWorld) -> list[str]:
    return [pod["metadata"]["labels"][names.LIFECYCLE_STATE_LABEL] for pod in world.pods()]


async def _looked_at_all(world: CloneSetWorld) -> None:
    """Wait until the leader has come to each set and pod, another set being the last."""
    world.apply(spec(1, selector={"matchLabels": {"app": "last"}}, template=_other()), name="last")
    await world.settled("last")
    world.server.remove("clonesets", "last", NAMESPACE)


def _other() -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "last"}},
        "spec": {"containers": [{"name": "app", "image": "last:1"}]},
    }


def _written_to_web(world: CloneSetWorld, since: int) -> list[str]:
    return [
        f"{each.verb} {each.resource} {each.body}"
        for each in world.server.requests[since:]
        if each.verb == "patch" and each.resource.startswith("pods") and each.name.startswith("web-")
        if each.headers.get("User-Agent") == "inplaced"
    ]


async def test_pods_that_are_through_with_an_update_and_its_hook_are_left_alone(cluster: Cluster) -> None:
    made = spec(2, updateStrategy=IN_PLACE, lifecycle=GUARD)
    made["template"]["metadata"] = {"labels": {"app": "web", "guard": "on"}}
    async with cluster.led() as world:
        world.apply(made)
        await world.settled()
        world.set_image("app:2")
        await world.until(lambda: states(world) == ["PreparingUpdate"] * 2)
        guard(world, None)
        await world.until(lambda: states(world) == ["Updated"] * 2)
        guard(world, "on")
        await world.settled()

    before, events = len(cluster.server.requests), len(world.events())
    async with cluster.led() as world:
        await _looked_at_all(world)

        assert _written_to_web(world, before) == []
        assert states(world)[-2:] == ["Normal"] * 2
        assert "InPlaceUpdateSucceeded" not in {reason for reason, _ in world.events()[events:]}


async def test_pods_that_were_told_of_a_newer_revision_stay_told(cluster: Cluster) -> None:
    async with cluster.led() as world:
        world.apply(spec(2, updateStrategy=IN_PLACE))
        await world.settled()
        world.set_image("app:2")
        await world.settled()
    told = '{"revision":"web-newer","images":{"app":"app:3"}}'
    async with cluster.led() as world:
        world.change(updateStrategy={**IN_PLACE, "paused": True})
        world.set_image("app:3")
        await world.until(lambda: world.status()["observedGeneration"] == 4)
        for pod in world.pods():
            world.patch_pod(
                pod["metadata"]["name"],
                lambda it: it["metadata"]["annotations"].update({names.NEXT_REVISION_ANNOTATION: told}),
            )

    before = len(cluster.server.requests)
    async with cluster.led() as world:
        await _looked_at_all(world)

        assert _written_to_web(world, before) == []


async def test_a_pod_in_mid_update_whose_revision_is_not_known_any_more_is_not_kept_from_its_traffic(
    cluster: Cluster,
) -> None:
    async with cluster.led() as world:
        world.apply(spec(1, updateStrategy=IN_PLACE))
        await world.settled()
        world.change(updateStrategy={**IN_PLACE, "paused": True})
        await world.settled()
    name = world.pods()[0]["metadata"]["name"]
    lost = {"controller-revision-hash": "web-lost", "pod-template-hash": "lost"}
    world.patch_pod(name, lambda it: it["metadata"]["labels"].update(lost))
    stored = cluster.server.document("pods", name, NAMESPACE)
    out = {"type": names.IN_PLACE_UPDATE_READY, "status": "False", "reason": "StartInPlaceUpdate"}
    others = [each for each in stored["status"]["conditions"] if each["type"] != out["type"]]
    status = {**stored["status"], "conditions": [*others, out]}
    kind = cluster.server.kinds["pods"]
    cluster.server.storage.update(kind, (NAMESPACE, name), {**stored, "status": status}, status=True)

    async with cluster.led() as world:
        await world.until(lambda: "InPlaceUpdateAbandoned" in {reason for reason, _ in world.events()})

        assert _gate(world) == "True"


async def test_an_update_to_a_revision_that_is_forgotten_meanwhile_does_not_keep_its_pod_from_traffic(
    cluster: Cluster,
) -> None:
    async with cluster.led() as world:
        world.apply(spec(1, updateStrategy=IN_PLACE, revisionHistoryLimit=0))
        await world.settled()
        fault = Fault(verb="patch", resource="pods", user_agent="inplaced", status=500, times=10_000)
        cluster.server.fail(fault)
        world.set_image("app:2")
        await world.until(lambda: fault.met > 0)

        world.change(updateStrategy={**IN_PLACE, "paused": True})
        world.set_image("app:3")
        await world.until(lambda: _recorded(world) == {"app:1", "app:3"})
        fault.times = 0
        await world.until(lambda: _gate(world) == "True")

        assert world.images() == ["app:1"]


def _recorded(world: CloneSetWorld) -> set[str]:
    """The images of the revisions that are stored."""
    stored = world.server.storage.of("controllerrevisions").values()
    return {each["data"]["spec"]["template"]["spec"]["containers"][0]["image"] for each in stored}


def _gate(world: CloneSetWorld) -> str:
    told: dict[str, str] = {each["type"]: each["status"] for each in world.pods()[0]["status"]["conditions"]}
    return told[names.IN_PLACE_UPDATE_READY]
