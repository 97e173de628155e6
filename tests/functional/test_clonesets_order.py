"""In which order and when the pods of a CloneSet change: by weights, by numbers, scattered, in turn."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from daemon import names
from tests.functional.cloneset_world import CloneSetWorld, cloneset_world, spec


def _one_by_one(**parts: Any) -> dict[str, Any]:
    return {"type": "InPlaceIfPossible", "maxUnavailable": 1, **parts}


async def _labelled(world: CloneSetWorld, *values: str, **strategy: Any) -> dict[str, str]:
    """Have a set one of whose pods has each of these values of the label "kind"; the values by pod."""
    world.apply(spec(len(values), updateStrategy=_one_by_one(**strategy)))
    await world.settled()
    pods = [pod["metadata"]["name"] for pod in world.pods()]
    for pod, value in zip(pods, values, strict=True):
        world.patch_pod(pod, partial(_mark, value=value))
    await _known(world, len(pods))
    return dict(zip(pods, values, strict=True))


def _mark(pod: dict[str, Any], value: str) -> None:
    pod["metadata"]["labels"]["kind"] = value


async def _known(world: CloneSetWorld, count: int) -> None:
    """Return when the controller knows the label of so many pods."""
    changed = asyncio.Event()
    world.known.subscribe(lambda _key: changed.set())
    async with asyncio.timeout(10):
        while sum("kind" in pod.metadata.labels for pod in world.known.list()) < count:
            await changed.wait()
            changed.clear()


async def _order(world: CloneSetWorld, kinds: dict[str, str]) -> list[str]:
    """The labels of the pods in the order in which they change to another image."""
    world.set_image("app:2")
    await world.settled()
    changes = [each for each in world.server.requests if '"image": "app:2"' in json.dumps(each.body)]
    pods = [each.name for each in changes if each.resource == "pods" and "dryRun" not in each.query]
    return [kinds[pod] for pod in dict.fromkeys(pods) if pod in kinds]


async def test_the_pods_of_the_greatest_weight_change_first() -> None:
    terms = [
        {"weight": weight, "matchSelector": {"matchLabels": {"kind": kind}}}
        for kind, weight in (("canary", 90), ("batch", 40))
    ]
    async with cloneset_world() as world:
        kinds = await _labelled(
            world, "web", "batch", "canary", "web", priorityStrategy={"weightPriority": terms}
        )

        assert await _order(world, kinds) == ["canary", "batch", "web", "web"]


async def test_the_pods_of_the_highest_number_change_first() -> None:
    strategy = {"orderPriority": [{"orderedKey": "kind"}]}
    async with cloneset_world() as world:
        kinds = await _labelled(world, "zone-2", "zone-10", "none", "zone-7", priorityStrategy=strategy)

        assert await _order(world, kinds) == ["zone-10", "zone-7", "zone-2", "none"]


async def test_pods_of_a_kind_change_at_equal_distances() -> None:
    strategy = [{"key": "kind", "value": "leader"}]
    async with cloneset_world() as world:
        kinds = await _labelled(world, "leader", "leader", *["web"] * 4, scatterStrategy=strategy)

        assert await _order(world, kinds) == ["web", "leader", "web", "web", "leader", "web"]


async def test_the_next_pod_changes_when_the_one_before_was_ready_for_long_enough() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, minReadySeconds=2, updateStrategy=_one_by_one()))
        await world.settled()

        world.set_image("app:2")
        await world.settled()

        begun = {pod["metadata"]["name"]: _begun_at(pod) for pod in world.pods()}
        first, second = sorted(world.pods(), key=lambda pod: begun[pod["metadata"]["name"]])
        # Both times are of whole seconds.
        assert (_begun_at(second) - _ready_at(first)).total_seconds() >= 1


def _begun_at(pod: Mapping[str, Any]) -> datetime:
    state = json.loads(pod["metadata"]["annotations"]["apps.kruise.io/inplace-update-state"])
    return datetime.fromisoformat(state["updateTimestamp"])


def _ready_at(pod: Mapping[str, Any]) -> datetime:
    (ready,) = [each for each in pod["status"]["conditions"] if each["type"] == names.READY]
    return datetime.fromisoformat(ready["lastTransitionTime"])
