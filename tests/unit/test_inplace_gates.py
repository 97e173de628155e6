"""Pods that were made without the readiness gate of updates, as by a set that replaced its pods then."""

from typing import Any

from daemon import names
from daemon.inplace.diff import MustRecreate
from daemon.objects.planned_restarts import planned_restarts, unplanned_restarts
from tests.unit.inplace_world import SimulatedPod, advance, target_of
from tests.unit.revisions import container, env_of, revision


def _reading(colour: str, image: str = "app:1", **annotations: str) -> dict[str, Any]:
    """A revision whose container has an annotation in its environment."""
    env = [env_of("COLOUR", "metadata.annotations['colour']")]
    return revision(container("app", image, env=env), annotations={"colour": colour, **annotations})


def test_such_a_pod_is_replaced_for_an_environment_since_no_agent_would_restart_it() -> None:
    world = SimulatedPod(_reading("red"), gated=False)

    verdict = advance(world, target_of(_reading("red"), _reading("blue")))

    assert isinstance(verdict, MustRecreate)
    assert (verdict.reason, world.writes) == ("NoReadinessGate", [])


def test_it_changes_in_place_with_an_image_since_the_kubelet_restarts_it_then() -> None:
    world = SimulatedPod(_reading("red"), gated=False)

    advance(world, target_of(_reading("red"), _reading("blue", "app:2")))

    assert [each.step for each in world.writes] == ["Change"]


def test_its_restart_counts_as_planned_though_no_agent_counts_it() -> None:
    world = SimulatedPod(_reading("red"), gated=False)
    target = target_of(_reading("red"), _reading("red", "app:2"))

    advance(world, target)
    told_before = dict(planned_restarts(world.pod))
    world.kubelet()
    advance(world, target)

    assert told_before == {"app": 1}
    assert dict(unplanned_restarts(world.pod)) == {"app": 0}


def test_the_restart_of_a_pod_with_the_gate_is_counted_by_its_agent() -> None:
    world = SimulatedPod(_reading("red"))

    advance(world, target_of(_reading("red"), _reading("red", "app:2")))

    assert not planned_restarts(world.pod)


def test_it_changes_in_place_where_it_wants_to_be_restarted_for_its_metadata() -> None:
    asking = {names.RESTART_ANNOTATION: "true"}
    old, new = _reading("red", **asking), _reading("blue", **asking)
    world = SimulatedPod(old, gated=False)

    advance(world, target_of(old, new))

    assert [each.step for each in world.writes] == ["Change"]
