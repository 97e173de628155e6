"""The grace period between out of traffic and the change; and revisions that change meanwhile."""

import base64
import json

from daemon import names
from daemon.inplace.targets import Done, Waiting
from tests.unit.inplace_world import BEGIN, SimulatedPod, advance, shown, target_of
from tests.unit.revisions import container, env_of, revision

READER = [env_of("CONFIG", "metadata.annotations['config']")]


def _of(image: str, config: str = "one", note: str | None = None) -> dict[str, object]:
    annotations = {"config": config} | ({"note": note} if note is not None else {})
    return revision(container("app", image, env=READER), container("side", "s:1"), annotations=annotations)


OLD, NEW = _of("a:1", note="gone"), _of("a:2", "two")


def test_nothing_changes_before_the_grace_period_is_over() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW, grace=10)

    first = advance(world, target)
    world.pass_time(6)
    second = advance(world, target)
    image = world.pod.spec.containers[0].image
    world.pass_time(4)
    advance(world, target)

    assert isinstance(first, Waiting)
    assert isinstance(second, Waiting)
    assert (first.reason, first.look_again_in) == ("GracePeriod", 10)
    assert second.look_again_in == 4
    assert image == "a:1"
    assert [each.step for each in world.writes] == ["TakeOut", "Change"]
    assert names.GRACE_ANNOTATION not in world.document["metadata"]["annotations"]


def test_what_waits_is_in_openkruises_format() -> None:
    world = SimulatedPod(OLD)

    advance(world, target_of(OLD, NEW, grace=10))

    grace = json.loads(world.document["metadata"]["annotations"][names.GRACE_ANNOTATION])
    patch = json.loads(base64.b64decode(grace.pop("metaDataPatch")))
    assert patch == {"metadata": {"annotations": {"note": None}}}
    assert grace == {
        "revision": "web-new",
        "containerImages": {"app": "a:2"},
        "containerRefMetadata": {"app": {"creationTimestamp": None, "annotations": {"config": "two"}}},
        "updateEnvFromMetadata": True,
        "graceSeconds": 10,
    }


def test_a_grace_period_that_openkruises_manager_began_is_ended_by_us() -> None:
    world = SimulatedPod(OLD)
    patch = base64.b64encode(b'{"metadata":{"annotations":{"note":null}}}').decode()
    annotations = world.document["metadata"]["annotations"]
    annotations["inplace-update-state"] = json.dumps(
        {
            "revision": "new",
            "updateTimestamp": shown(BEGIN),
            "lastContainerStatuses": None,
            "updateImages": True,
        }
    )
    annotations["inplace-update-grace"] = json.dumps(
        {"revision": "new", "containerImages": {"app": "a:2"}, "metaDataPatch": patch, "graceSeconds": 5}
    )
    world.document["metadata"]["labels"][names.TEMPLATE_HASH_LABEL] = "web-new"
    world.document["status"]["conditions"][0]["status"] = "False"
    target = target_of(NEW, NEW)

    waiting = advance(world, target)
    world.pass_time(5)
    advance(world, target)
    world.kubelet()

    assert isinstance(waiting, Waiting)
    assert waiting.look_again_in == 5
    assert advance(world, target) == Done()
    assert world.truth["app"].image == "a:2"
    assert (
        world.document["metadata"]["annotations"]
        .keys()
        .isdisjoint({"note", "inplace-update-state", "inplace-update-grace"})
    )


def test_another_revision_during_the_grace_period_does_not_begin_it_anew() -> None:
    world, third = SimulatedPod(OLD), _of("a:3")
    advance(world, target_of(OLD, NEW, grace=10))
    world.pass_time(7)
    target = target_of(NEW, third, revision="web-third", grace=10)

    waiting = advance(world, target)
    world.pass_time(3)
    advance(world, target)
    world.kubelet()

    assert isinstance(waiting, Waiting)
    assert waiting.look_again_in == 3
    assert advance(world, target) == Done()
    assert world.truth["app"].image == "a:3"
    assert world.truth["app"].restarts == 1
    annotations = world.document["metadata"]["annotations"]
    assert annotations["config"] == "one"
    assert "note" not in annotations


def test_going_back_during_the_grace_period_restarts_nothing() -> None:
    world = SimulatedPod(OLD)
    advance(world, target_of(OLD, NEW, grace=10))
    back = target_of(NEW, OLD, revision="web-old", grace=10)

    advance(world, back)
    world.kubelet()

    assert advance(world, back) == Done()
    assert world.truth["app"].restarts == 0
    assert world.serving


def test_an_unreadable_grace_record_does_not_lose_the_change() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW, grace=10)
    advance(world, target)
    world.document["metadata"]["annotations"][names.GRACE_ANNOTATION] = "{broken"

    advance(world, target)
    world.kubelet()

    assert advance(world, target) == Done()
    assert world.truth["app"].image == "a:2"
    assert world.truth["app"].env == {"CONFIG": "two"}


def test_an_unreadable_grace_record_of_an_old_manager_does_not_lose_the_change_either() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW, grace=10)
    advance(world, target)
    annotations = world.document["metadata"]["annotations"]
    del annotations[names.GRACE_ANNOTATION]
    annotations[names.OLD_GRACE_ANNOTATION] = "{broken"

    advance(world, target)
    world.kubelet()

    assert advance(world, target) == Done()
    assert world.truth["app"].image == "a:2"
    assert names.OLD_GRACE_ANNOTATION not in world.document["metadata"]["annotations"]


def test_a_revision_that_overtakes_a_change_keeps_what_is_not_proven_yet() -> None:
    world, third = (
        SimulatedPod(OLD),
        revision(
            container("app", "a:2", env=READER), container("side", "s:2"), annotations={"config": "two"}
        ),
    )
    advance(world, target_of(OLD, NEW))
    target = target_of(NEW, third, revision="web-third")

    advance(world, target)
    state = json.loads(world.document["metadata"]["annotations"][names.STATE_ANNOTATION])
    world.kubelet()

    assert state["lastContainerStatuses"].keys() == {"app", "side"}
    assert advance(world, target) == Done()
    assert world.is_true
