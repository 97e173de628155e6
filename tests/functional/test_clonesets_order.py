"""In which order the pods of a CloneSet change: by weights, by the numbers of labels, scattered."""

import asyncio
import json
from functools import partial
from typing import Any

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
