"""Environments and resources in place: what the node's agent does, and how it is verified."""

from typing import Any

import pytest

from daemon.inplace.diff import MustRecreate
from daemon.inplace.observing import Observed, Write
from daemon.inplace.planner import plan
from daemon.inplace.targets import NOT_SCHEDULED, Done, Failed, Waiting
from tests.unit.inplace_world import SimulatedPod, advance, target_of
from tests.unit.revisions import container, env_of, revision

ENV_OLD = revision(
    container("app", "a:1", env=[env_of("CONFIG", "metadata.annotations['config']")]),
    annotations={"config": "one"},
)


def _with_config(value: str | None, image: str = "a:1") -> dict[str, Any]:
    reader = container("app", image, env=[env_of("CONFIG", "metadata.annotations['config']")])
    return revision(reader, annotations={"config": value} if value is not None else {"other": "x"})


@pytest.mark.parametrize("value", ["two", None])
def test_a_changed_environment_is_verified_by_what_the_agent_tells(value: str | None) -> None:
    world, target = SimulatedPod(ENV_OLD), target_of(ENV_OLD, _with_config(value))
    world.agent()

    waiting = advance(world, target)
    world.agent()

    assert isinstance(waiting, Waiting)
    assert advance(world, target) == Done()
    assert world.truth["app"].restarts == 1
    assert world.truth["app"].env == {"CONFIG": value or ""}


def test_image_and_environment_together_restart_once_and_need_no_agent() -> None:
    world, target = SimulatedPod(ENV_OLD), target_of(ENV_OLD, _with_config("two", "a:2"))

    advance(world, target)
    world.kubelet()

    assert advance(world, target) == Done()
    assert world.truth["app"].restarts == 1


def test_an_environment_waits_untouched_for_an_agent_that_is_silent() -> None:
    world, target = SimulatedPod(ENV_OLD), target_of(ENV_OLD, _with_config("two"))

    progress = plan(Observed(world.pod, target, world.now, agent_alive=False))

    assert isinstance(progress, Waiting)
    assert progress.untouched
    assert progress.look_again_in is not None, "nothing of the pod changes when its agent is back"


SMALL = revision(container("app", "a:1", resources={"requests": {"cpu": "100m"}}))
LARGE = revision(container("app", "a:1", resources={"requests": {"cpu": "200m"}}))


def test_a_pod_without_a_node_waits_for_no_agent_and_is_not_resized() -> None:
    reader, sized = SimulatedPod(ENV_OLD), SimulatedPod(SMALL)
    for world in (reader, sized):
        world.document["spec"]["nodeName"] = ""

    step = plan(Observed(reader.pod, target_of(ENV_OLD, _with_config("two")), reader.now, agent_alive=False))
    verdict = plan(Observed(sized.pod, target_of(SMALL, LARGE), sized.now, agent_alive=False))

    assert isinstance(step, Write)
    assert isinstance(verdict, MustRecreate)
    assert verdict.reason == NOT_SCHEDULED


def test_a_resize_leaves_the_pod_in_traffic_and_is_verified() -> None:
    world, target = SimulatedPod(SMALL), target_of(SMALL, LARGE)

    waiting = advance(world, target)
    world.agent()
    world.kubelet()

    assert isinstance(waiting, Waiting)
    assert waiting.reason == "Resizing"
    assert advance(world, target) == Done()
    assert [each.step for each in world.writes] == ["Change"]


def test_a_container_that_restarts_when_resized_is_taken_out() -> None:
    policy = {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}
    sizes = [container("app", "a:1", resources={"requests": {"cpu": each}}, **policy) for each in ("1", "2")]
    world = SimulatedPod(revision(sizes[0]))

    advance(world, target_of(revision(sizes[0]), revision(sizes[1])))

    assert [each.step for each in world.writes] == ["TakeOut", "Change"]


@pytest.mark.parametrize(("policy", "kind"), [("Wait", Failed), ("Recreate", MustRecreate)])
def test_an_infeasible_resize_is_told_or_means_another_pod(policy: str, kind: type) -> None:
    world, target = SimulatedPod(SMALL, infeasible=True), target_of(SMALL, LARGE, on_infeasible=policy)
    advance(world, target)
    world.agent()

    progress = advance(world, target)

    assert isinstance(progress, kind)
    assert isinstance(progress, Failed | MustRecreate)
    assert progress.reason == "Infeasible"


def test_what_became_of_an_earlier_resize_says_nothing_of_this_one() -> None:
    world, first = SimulatedPod(SMALL, infeasible=True), target_of(SMALL, LARGE)
    advance(world, first)
    world.agent()
    larger = revision(container("app", "a:1", resources={"requests": {"cpu": "300m"}}))

    progress = advance(world, target_of(LARGE, larger, revision="web-newer", on_infeasible="Recreate"))

    assert isinstance(progress, Waiting)
    assert progress.reason == "Resizing"
