"""CloneSets whose pods are to get more than their node has, on a real scheduler and kubelet."""

import zlib
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.testbed.counting import counter
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting
from tests.testbed.sets import RealSet, condition, status_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

ONE_BY_ONE = {"type": "InPlaceIfPossible", "maxUnavailable": 1}
KEPT = {"spec": {"volumes": [{"name": "count", "emptyDir": {}}]}}
MORE_THAN_THE_NODE_HAS = "1000"


@pytest_asyncio.fixture(loop_scope="session")
async def web(bed: Restarting, prefix: str) -> AsyncIterator[RealSet]:
    """A set of a name of its own, removed in the end."""
    made = RealSet(bed.api, f"web-{zlib.crc32(prefix.encode()):x}")
    yield made
    await made.discard()


def _app(bed: Restarting, cpu: str) -> list[dict[str, Any]]:
    return [{**counter("app", bed.image.ref), "resources": {"requests": {"cpu": cpu}}}]


def _template(bed: Restarting, web: RealSet, cpu: str) -> dict[str, Any]:
    found: dict[str, Any] = web.document(_app(bed, cpu), template=KEPT)["spec"]["template"]
    return found


async def _others(web: RealSet, uids: Collection[str]) -> list[str]:
    """Wait for pods of the set with other UIDs; return their names."""
    found: list[str] = []

    async def there() -> bool:
        pods = await web.pods()
        found[:] = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["uid"] not in uids]
        return bool(found)

    await until(there, timeout=60, what=f"other pods of {web.name}", pause=0.05)
    return found


async def _notes(bed: Restarting, name: str, reason: str) -> list[str]:
    """Wait for events about that object; return what they say."""
    found: list[str] = []

    async def there() -> bool:
        found[:] = [note for _, each, note in await bed.events(name) if each == reason]
        return bool(found)

    await until(there, timeout=60, what=f"{reason} of {name}", pause=0.05)
    return found


async def test_pods_are_replaced_in_turn_where_the_set_wants_it(bed: Restarting, web: RealSet) -> None:
    strategy = {**ONE_BY_ONE, "inPlaceUpdateStrategy": {"onInfeasible": "Recreate"}}
    document = web.document(_app(bed, "10m"), replicas=2, updateStrategy=strategy, template=KEPT)
    await web.apply(document)
    await web.settled()
    old = {pod["metadata"]["uid"]: pod for pod in await web.pods()}

    await web.patch(template=_template(bed, web, MORE_THAN_THE_NODE_HAS))
    (new,) = await _others(web, old)
    pending = await bed.until(new, lambda pod: bool(condition(pod, "PodScheduled")), "judged")
    notes = await _notes(bed, web.name, "SuccessfulUpdatePodReCreate")
    (kept,) = [pod for pod in await web.pods() if pod["metadata"]["uid"] in old]
    await web.patch(template=_template(bed, web, "10m"))
    await web.settled()

    assert condition(pending, "PodScheduled")["reason"] == "Unschedulable"
    assert "cpu" in notes[0]
    assert condition(kept, names.READY)["status"] == "True"
    assert status_of(kept)["containerID"] in [status_of(pod)["containerID"] for pod in await web.pods()]
