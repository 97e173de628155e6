"""One pod's update in place, from out of traffic to verified, with kubelet and agent beside it."""

import json
from typing import Any

from daemon import names
from daemon.inplace.diff import MustRecreate
from daemon.inplace.observing import Observed, Write
from daemon.inplace.planner import plan
from daemon.inplace.targets import Done, Extras, Failed, Target, Waiting
from daemon.objects.container_hashes import plain_hash
from daemon.objects.running_containers import RunningContainer
from tests.unit.inplace_world import SimulatedPod, advance, target_of
from tests.unit.revisions import container, revision

OLD = revision(container("app", "repo/app:v1"), container("side", "repo/side:v1"))
NEW = revision(container("app", "repo/app:v2"), container("side", "repo/side:v1"))


def _annotation(world: SimulatedPod, key: str) -> Any:
    return json.loads(world.document["metadata"]["annotations"][key])


def test_a_new_image_takes_three_writes_and_one_restart() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW)

    begun = advance(world, target)
    world.kubelet()
    ended = advance(world, target)

    assert isinstance(begun, Waiting)
    assert begun.reason == "Restarting"
    assert ended == Done()
    assert [each.step for each in world.writes] == ["TakeOut", "Change", "GiveBack"]
    assert world.truth["app"].restarts == 1
    assert world.truth["side"].restarts == 0
    assert world.serving


def test_ready_is_taken_away_in_the_same_write_as_the_gate() -> None:
    world = SimulatedPod(OLD)

    advance(world, target_of(OLD, NEW))

    statuses = {each["type"]: each["status"] for each in world.writes[0].document["status"]["conditions"]}
    assert statuses == {names.IN_PLACE_UPDATE_READY: "False", names.READY: "False"}


def test_the_patch_is_bound_to_the_version_in_which_the_pod_was_out_of_traffic() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW)
    stale = world.pod
    world.agent()

    advance(world, target, seen=stale)

    assert [each.step for each in world.writes] == ["TakeOut", "Change"]


def test_the_state_is_in_openkruises_format() -> None:
    world = SimulatedPod(OLD)

    advance(world, target_of(OLD, NEW))

    state = _annotation(world, names.STATE_ANNOTATION)
    assert state.pop("containerBatchesRecord") == [
        {"timestamp": "2026-01-01T00:00:00Z", "containers": ["app"]}
    ]
    assert state["lastContainerStatuses"]["app"]["imageID"].startswith("sha256:")
    del state["lastContainerStatuses"]
    assert state == {
        "revision": "web-new",
        "updateTimestamp": "2026-01-01T00:00:00Z",
        "updateImages": True,
    }


def test_restarts_before_the_update_are_recorded_in_the_same_patch() -> None:
    world = SimulatedPod(OLD)
    world.crash("app")
    world.crash("side")

    advance(world, target_of(OLD, NEW, revision="sample-d97f89dcf"))

    annotations = world.writes[1].document["metadata"]["annotations"]
    assert annotations[names.RESTART_COUNTS_ANNOTATION] == (
        '{"app":{"revision":"sample-d97f89dcf","restartCount":1}}'
    )
    assert annotations[names.POD_RESTART_COUNT_ANNOTATION] == "2"


def test_what_the_workload_wants_set_goes_into_the_writes_that_are_made_anyway() -> None:
    world = SimulatedPod(OLD)
    plain = target_of(OLD, NEW)
    target = Target(
        revision=plain.revision,
        labels=plain.labels,
        old=OLD,
        new=NEW,
        begun=Extras(labels={"state": "Updating"}),
        done=Extras(labels={"state": "Normal"}, annotations={"at": "now"}),
    )

    advance(world, target)
    begun = world.document["metadata"]["labels"]["state"]
    world.kubelet()
    advance(world, target)

    assert begun == "Updating"
    assert world.document["metadata"]["labels"]["state"] == "Normal"
    assert len(world.writes) == 3


def test_a_pod_without_the_gate_is_changed_in_one_write() -> None:
    world, target = SimulatedPod(OLD, gated=False), target_of(OLD, NEW)

    advance(world, target)
    world.kubelet()

    assert advance(world, target) == Done()
    assert [each.step for each in world.writes] == ["Change"]


def test_labels_and_annotations_change_while_the_pod_serves() -> None:
    new = revision(*OLD["spec"]["template"]["spec"]["containers"], annotations={"note": "n"})
    world, target = SimulatedPod(OLD), target_of(OLD, new)

    assert advance(world, target) == Done()
    assert [each.step for each in world.writes] == ["Change"]
    assert world.document["metadata"]["annotations"]["note"] == "n"


def test_a_pod_that_was_made_like_this_is_given_to_traffic_once() -> None:
    world = SimulatedPod(OLD)
    world.document["status"]["conditions"] = []
    target = target_of(OLD, OLD, revision="web-old")

    assert advance(world, target) == Done()
    assert advance(world, target) == Done()
    assert [each.step for each in world.writes] == ["GiveBack"]


def test_a_crash_of_the_old_container_is_not_taken_for_the_restart() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW)
    advance(world, target)
    world.crash("app")

    progress = advance(world, target)

    assert isinstance(progress, Waiting)
    assert not world.serving


def test_a_new_name_of_the_same_image_is_verified_by_the_restart() -> None:
    old, new = revision(container("app", "repo/a:v1-same-x")), revision(container("app", "repo/a:v2-same-x"))
    world, target = SimulatedPod(old, alias="repo/a:v2-same-x"), target_of(old, new)

    begun = advance(world, target)
    world.kubelet()

    assert isinstance(begun, Waiting)
    assert advance(world, target) == Done()


def test_another_name_for_the_image_is_believed_on_the_agents_word() -> None:
    world, target = SimulatedPod(OLD, alias="mirror/app@sha256:1"), target_of(OLD, NEW)
    advance(world, target)
    world.kubelet()

    alone = advance(world, target)
    world.agent()

    assert isinstance(alone, Waiting)
    assert alone.look_again_in == 10
    assert advance(world, target) == Done()


def test_a_successor_that_the_agent_has_seen_ends_the_update_before_the_kubelet_tells_of_it() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW)
    world.agent()
    advance(world, target)
    image = plain_hash("app", "repo/app:v2")
    world.tell({"app": RunningContainer(id="containerd://app-1", restarts=1, image=image)})

    assert advance(world, target) == Done()


def test_its_last_word_counts_what_it_replaced_and_tells_openkruise_of_the_successor() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW)
    owner = {
        "apiVersion": names.KRUISE_API,
        "kind": "CloneSet",
        "name": "web",
        "uid": "w",
        "controller": True,
    }
    world.document["metadata"]["ownerReferences"] = [owner]
    world.agent()
    advance(world, target)
    assert _annotation(world, names.REPLACED_ANNOTATION) == {"app": "containerd://app-0"}
    world.kubelet()
    world.agent()

    assert advance(world, target) == Done()
    assert _annotation(world, names.PLANNED_RESTARTS_ANNOTATION) == {"app": 1}
    assert names.REPLACED_ANNOTATION not in world.document["metadata"]["annotations"]
    metas = _annotation(world, names.KRUISE_META_ANNOTATION)["containers"]
    assert [(each["name"], each["containerID"], each["restartCount"]) for each in metas] == [
        ("app", "containerd://app-1", 1),
        ("side", "containerd://side-0", 0),
    ]
    assert metas[0]["hashes"]["plainHash"] == plain_hash("app", "repo/app:v2")


def test_a_pod_without_the_gate_leaves_the_count_to_its_agent() -> None:
    world, target = SimulatedPod(OLD, gated=False), target_of(OLD, NEW)
    advance(world, target)

    assert names.REPLACED_ANNOTATION not in world.document["metadata"]["annotations"]


def test_without_an_agent_another_name_is_believed_after_a_while() -> None:
    world, target = SimulatedPod(OLD, alias="mirror/app@sha256:1"), target_of(OLD, NEW)
    advance(world, target)
    world.kubelet()
    world.pass_time(10)

    assert advance(world, target) == Done()


def test_an_image_that_cannot_be_pulled_is_told_once_and_can_be_rolled_back() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW)
    advance(world, target)
    world.kubelet(pulls=False)

    failed = advance(world, target)
    again = advance(world, target)
    back = target_of(NEW, OLD, revision="web-old")
    waiting = advance(world, back)
    world.kubelet()

    assert isinstance(failed, Failed)
    assert failed == again
    assert failed.reason == "ImagePullFailed"
    assert "repo/app:v2" in failed.message
    assert isinstance(waiting, Waiting)
    assert advance(world, back) == Done()
    assert [each.step for each in world.writes] == ["TakeOut", "Change", "Tell", "Change", "GiveBack"]


def test_what_the_kubelet_said_of_a_longer_name_is_not_said_of_this_image() -> None:
    broken = revision(container("app", "repo/app:v10"), container("side", "repo/side:v1"))
    world, target = SimulatedPod(OLD), target_of(OLD, broken)
    advance(world, target)
    world.kubelet(pulls=False)
    advance(world, target)

    assert isinstance(advance(world, target_of(broken, OLD, revision="web-old")), Waiting)


def test_what_takes_too_long_is_told_and_still_ends() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW, deadline=60)
    advance(world, target)
    world.pass_time(61)

    failed = advance(world, target)
    told = dict(world.condition(names.IN_PLACE_UPDATE_READY))
    world.kubelet()

    assert isinstance(failed, Failed)
    assert failed.reason == told["reason"] == "DeadlineExceeded"
    assert advance(world, target) == Done()


def test_an_unreadable_state_holds_nothing_up() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW)
    advance(world, target)
    world.document["metadata"]["annotations"][names.STATE_ANNOTATION] = "{broken"
    waiting = advance(world, target)
    world.kubelet()

    assert isinstance(waiting, Waiting)
    assert advance(world, target) == Done()


def test_a_container_that_never_ran_is_not_taken_for_one_that_runs_the_new_image() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, NEW)
    _never_started(world, "repo/app:v1")
    advance(world, target)
    _never_started(world, "repo/app:v2")

    waiting = advance(world, target)
    world.kubelet()

    assert isinstance(waiting, Waiting)
    assert advance(world, target) == Done()


def _never_started(world: SimulatedPod, image: str) -> None:
    """As a kubelet tells of a container whose image it could not get yet."""
    world.document["status"]["containerStatuses"][0] = {
        "name": "app",
        "image": image,
        "imageID": "",
        "restartCount": 0,
        "ready": False,
        "state": {"waiting": {"reason": "ContainerCreating"}},
    }


def test_a_pod_that_is_being_deleted_is_left_alone() -> None:
    world = SimulatedPod(OLD)
    world.document["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    progress = advance(world, target_of(OLD, NEW))

    assert progress == Waiting("Deleting", "the pod is being deleted")
    assert not world.writes


def test_what_cannot_change_in_place_leaves_the_pod_untouched() -> None:
    world = SimulatedPod(OLD)

    progress = advance(world, target_of(OLD, revision(container("app", "repo/app:v1"))))

    assert isinstance(progress, MustRecreate)
    assert not world.writes


def test_going_back_before_anything_changed_only_gives_the_pod_back() -> None:
    world = SimulatedPod(OLD)
    first = target_of(OLD, NEW)
    step = plan(Observed(world.pod, first, world.now))
    assert isinstance(step, Write)
    world.apply(step)

    assert advance(world, target_of(OLD, OLD, revision="web-old")) == Done()
    assert [each.step for each in world.writes] == ["TakeOut", "GiveBack"]


def test_a_pod_that_openkruises_manager_labelled_by_the_hash_alone_is_gone_on_with() -> None:
    """Its gate CloneSetShortHash leaves the set's name out of the label."""
    world = SimulatedPod(OLD)
    advance(world, target_of(OLD, NEW, revision="web-7d9f"))
    world.document["metadata"]["labels"][names.TEMPLATE_HASH_LABEL] = "7d9f"
    target = target_of(NEW, NEW, revision="web-7d9f")

    waiting = advance(world, target)
    world.kubelet()

    assert isinstance(waiting, Waiting)
    assert advance(world, target) == Done()
    assert world.truth["app"].restarts == 1
    assert world.document["metadata"]["labels"][names.TEMPLATE_HASH_LABEL] == "web-7d9f"
