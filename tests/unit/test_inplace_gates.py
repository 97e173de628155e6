"""Pods that were made without the readiness gate of updates, as by a set that replaced its pods then."""

from typing import Any

from daemon import names
from daemon.inplace.diff import MustRecreate
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


def test_it_changes_in_place_where_it_wants_to_be_restarted_for_its_metadata() -> None:
    asking = {names.RESTART_ANNOTATION: "true"}
    old, new = _reading("red", **asking), _reading("blue", **asking)
    world = SimulatedPod(old, gated=False)

    advance(world, target_of(old, new))

    assert [each.step for each in world.writes] == ["Change"]
