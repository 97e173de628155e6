"""A node is lost while a pod on it changes in place: its set goes on without that pod, and is ready."""

from datetime import timedelta

from daemon import names
from tests.functional.cloneset_world import NAMESPACE, cloneset_world, spec

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}
LONG_AGO = timedelta(minutes=-5)


async def test_a_set_is_ready_though_a_pod_that_was_changing_never_ends() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, updateStrategy=IN_PLACE))
        await world.settled()
        world.kubelet.manual = True
        world.set_image("app:2")
        await world.until(lambda: world.images() == ["app:2"] * 2)
        lost = world.pods()[0]["metadata"]

        world.patch_pod(lost["name"], lambda it: it["metadata"].update(finalizers=["example.io/held"]))
        storage = world.server.storage
        storage.ahead = LONG_AGO
        storage.delete(world.server.kinds["pods"], (NAMESPACE, lost["name"]), "")
        storage.ahead = timedelta(0)
        world.kubelet.resume()
        status = await world.settled()

        assert (status["replicas"], status["updatedAvailableReplicas"]) == (2, 2)
        assert lost["uid"] in world.uids()
        assert len(world.uids()) == 3
        assert world.condition(names.STALLED)["status"] == "False"
