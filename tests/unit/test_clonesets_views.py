"""What is seen of one pod of a CloneSet, by what stands on it alone."""

from datetime import datetime

import pytest

from daemon import names
from daemon.workloads.clonesets.settings import Settings
from daemon.workloads.clonesets.views import PodView, ViewCache
from tests.unit.inplace_world import SimulatedPod, advance, target_of
from tests.unit.revisions import container, env_of, revision

PLAIN = [revision(container("app", f"repo/app:{tag}")) for tag in (1, 2)]
READS = [env_of("CONFIG", "metadata.annotations['config']")]
CONFIG = [
    revision(
        container("app", "repo/app:1", env=READS),
        annotations={"config": text, names.RESTART_ANNOTATION: "true"},
    )
    for text in ("one", "two")
]
SETTINGS = Settings(replicas=1, policy="InPlaceIfPossible")


def _looked(cache: ViewCache, world: SimulatedPod, now: datetime) -> PodView:
    (view,) = cache.look([world.pod], SETTINGS, "web-new", now, ())
    return view


@pytest.mark.parametrize("revisions", [PLAIN, CONFIG], ids=["image", "environment"])
def test_a_pod_without_the_gate_is_unavailable_until_it_runs_what_its_update_wrote(
    revisions: list[dict[str, object]],
) -> None:
    world, cache = SimulatedPod(revisions[0], gated=False), ViewCache()
    world.agent()
    advance(world, target_of(*revisions))

    before = _looked(cache, world, world.now)
    world.kubelet()
    world.agent()
    after = _looked(cache, world, world.now)

    assert (before.ready, before.busy, before.available) == (True, True, False)
    assert (after.busy, after.available) == (False, True)


def test_a_pod_that_serves_before_all_of_its_containers_have_changed_is_not_through() -> None:
    def ordered(tag: int) -> dict[str, object]:
        keys = {"first": "p_2", "last": "p_1"}
        env = [
            {"name": names.BARRIER_VARIABLE, "valueFrom": {"configMapKeyRef": {"name": "b", "key": key}}}
            for key in keys.values()
        ]
        made = zip(keys, env, strict=True)
        return revision(*(container(name, f"repo/{name}:{tag}", env=[one]) for name, one in made))

    world = SimulatedPod(ordered(1))
    advance(world, target_of(ordered(1), ordered(2)))
    for each in world.document["status"]["conditions"]:
        each["status"] = "True"

    view = _looked(ViewCache(), world, world.now)

    assert (view.updated, view.busy, view.available) == (True, True, False)


def test_what_a_pod_without_the_gate_proves_by_silence_alone_is_seen_when_its_time_has_passed() -> None:
    world, cache = SimulatedPod(revision(container("app", "repo/app:a-same-1")), gated=False), ViewCache()
    advance(world, target_of(world.revision, revision(container("app", "repo/app:b-same-1"))))
    world.alias = "repo/app:b-same-1"
    world.told()
    pod = world.pod

    views = []
    for _ in range(2):
        views += cache.look([pod], SETTINGS, "web-new", world.now, ())
        world.pass_time(11)

    assert [view.available for view in views] == [False, True]
