"""Whether an announced pod can change now, and what it does to its update."""

import json
from datetime import timedelta
from typing import Any

import pytest

from daemon import names
from daemon.inplace.diff import MustRecreate
from daemon.inplace.observing import Observed
from daemon.inplace.planner import plan
from daemon.inplace.targets import Done, Failed, Waiting
from tests.unit.inplace_world import BEGIN, HASH, SimulatedPod, advance, shown, target_of
from tests.unit.revisions import container, revision

OLD, NEW = revision(container("app", "a:1")), revision(container("app", "a:2"))


def _announced(revision_name: str = "web-new", **answer: Any) -> SimulatedPod:
    """A pod that was told, and what its node has answered."""
    world = SimulatedPod(OLD)
    told = {"revision": revision_name, "images": {"app": "a:2"}, "since": shown(BEGIN)}
    world.document["metadata"]["annotations"] = {names.NEXT_REVISION_ANNOTATION: json.dumps(told)}
    if answer:
        world.document["status"]["conditions"].append({"type": names.NEXT_REVISION_READY, **answer})
    return world


def _answer(reason: str, status: str = "False") -> dict[str, str]:
    return {"status": status, "reason": reason, "message": f"web-new: about {reason}"}


def test_a_prepared_pod_changes_and_the_announcement_goes() -> None:
    world, target = _announced(**_answer("Pulled", "True")), target_of(OLD, NEW)

    advance(world, target)
    world.kubelet()

    assert advance(world, target) == Done()
    assert [each.step for each in world.writes] == ["TakeOut", "Change", "GiveBack"]
    assert names.NEXT_REVISION_ANNOTATION not in world.document["metadata"]["annotations"]
    assert not world.condition(names.NEXT_REVISION_READY)


def test_a_pod_whose_node_pulls_is_not_touched() -> None:
    world = _announced(**_answer("Pulling"))

    progress = advance(world, target_of(OLD, NEW, preparation_deadline=60))

    assert progress == Waiting("Preparing", "about Pulling", 60, untouched=True)
    assert not world.writes


@pytest.mark.parametrize("reason", ["PullFailed", "NoSpace", "WouldNotFit"])
def test_a_pod_whose_node_cannot_be_prepared_is_not_touched(reason: str) -> None:
    world = _announced(**_answer(reason))

    progress = advance(world, target_of(OLD, NEW))

    assert progress == Failed("PreparationFailed", f"{reason}: about {reason}", untouched=True)
    assert not world.writes


def test_what_does_not_fit_means_another_pod_where_that_is_wanted() -> None:
    world = _announced(**_answer("WouldNotFit"))

    assert isinstance(advance(world, target_of(OLD, NEW, on_infeasible="Recreate")), MustRecreate)


def test_a_node_that_does_not_answer_is_not_waited_for_long() -> None:
    world, target = _announced(), target_of(OLD, NEW)

    waiting = advance(world, target)
    world.pass_time(15)
    advance(world, target)

    assert isinstance(waiting, Waiting)
    assert (waiting.reason, waiting.look_again_in) == ("Preparing", 15)
    assert [each.step for each in world.writes] == ["TakeOut", "Change"]


def test_a_pull_that_takes_too_long_is_not_waited_for_any_more() -> None:
    world = _announced(**_answer("Pulling"))
    world.pass_time(61)

    advance(world, target_of(OLD, NEW, preparation_deadline=60))

    assert [each.step for each in world.writes] == ["TakeOut", "Change"]


def test_an_answer_about_another_revision_is_none() -> None:
    world = _announced(status="True", reason="Pulled", message="web-other: its images are there")

    assert isinstance(advance(world, target_of(OLD, NEW)), Waiting)


def test_an_announcement_of_another_revision_holds_nothing_up() -> None:
    world = _announced("web-other")

    advance(world, target_of(OLD, NEW))

    assert [each.step for each in world.writes] == ["TakeOut", "Change"]


def test_a_silent_agent_is_not_waited_for() -> None:
    world = _announced(**_answer("Pulling"))

    step = plan(Observed(world.pod, target_of(OLD, NEW), BEGIN + timedelta(0), agent_alive=False))

    assert not isinstance(step, Waiting)


def test_a_pod_that_is_what_it_was_told_loses_the_announcement() -> None:
    world = _announced(**_answer("Pulling"))
    world.document["metadata"]["labels"][HASH] = "web-new"

    assert advance(world, target_of(OLD, OLD)) == Done()
    assert [each.step for each in world.writes] == ["GiveBack"]
    assert not world.condition(names.NEXT_REVISION_READY)
    assert names.NEXT_REVISION_ANNOTATION not in world.document["metadata"]["annotations"]


def test_a_pod_that_is_verified_anew_keeps_the_announcement_of_another_revision() -> None:
    world = _announced(**_answer("Pulling"))

    assert advance(world, target_of(OLD, OLD, revision="web-old")) == Done()
    assert world.writes == []
