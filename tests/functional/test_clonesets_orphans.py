"""Pods that a CloneSet lets go: nothing that was begun on them is left, and the set made anew keeps them."""

import copy
from daemon.localpods.indexes import orphans_of
from tests.fakes.following import until
from tests.functional.cloneset_world import NAMESPACE, CloneSetWorld, cloneset_world, spec
from tests.functional.test_clonesets_faults import restarts

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}
OWNED = ("controllerrevisions", "pods")


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
