"""Which pods are resized now, in which order, and what is told of the others."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.localpods.room import Room
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import Outcome, Record, digest_of, written
from daemon.resizes.planner import plan
from daemon.resizes.plans import (
    Blame,
    Observed,
    PodSeen,
    Question,
    Refusal,
    Repair,
    Resize,
    Served,
    Verdict,
)
from daemon.resizes.runtime_numbers import Numbers
from tests.unit.resize_pods import MIB, NOW, numbers, pod, res, seen, wish, world

MORE = wish("500m", "1")
LESS_MEMORY = wish("-", "- 72Mi")


def resized(state: Observed) -> list[str]:
    """The pods that are resized, in their order."""
    return [each.pod.metadata.name for each in plan(state).steps if isinstance(each, Resize)]


def verdict(state: Observed, name: str = "web") -> Verdict:
    """What is told of one pod."""
    (found,) = [each for each in plan(state).verdicts if each.pod.metadata.name == name]
    return found


def recorded(pod_: LocalPod, reason: Outcome, **fields: Any) -> LocalPod:
    """The same pod with a record of its wish."""
    annotations = dict(pod_.metadata.annotations)
    digest = digest_of(annotations[names.RESOURCES_ANNOTATION])
    record = Record(wish=digest, reason=reason, **{"since": NOW, **fields})
    annotations[names.RESIZE_RECORD_ANNOTATION] = written(record)
    metadata = msgspec.structs.replace(pod_.metadata, annotations=annotations)
    return msgspec.structs.replace(pod_, metadata=metadata)


def pending(reason: str, message: str = "no", **fields: Any) -> dict[str, Any]:
    """The kubelet's condition while it cannot allocate."""
    return {"type": "PodResizePending", "status": "True", "reason": reason, "message": message, **fields}


def acting(reason: str = "", message: str = "") -> dict[str, Any]:
    """The kubelet's condition while it acts."""
    return {"type": "PodResizeInProgress", "status": "True", "reason": reason, "message": message}


def test_only_what_differs_is_patched() -> None:
    (step,) = plan(world(pod(wish=wish("0.1 64Mi", "1 128Mi")))).steps

    assert isinstance(step, Resize)
    assert step.values == (("app", "limits", "cpu", "1"),)


def test_what_is_wished_for_and_there_is_in_sync() -> None:
    told = verdict(world(pod(wish=wish("0.1 64Mi"))))

    assert (told.outcome, told.message) == (
        Outcome.IN_SYNC,
        "app: cpu request 0.1, memory request 64Mi, cpu limit 200m, memory limit 128Mi",
    )


def test_decreases_go_before_increases() -> None:
    grows, shrinks = pod("a", wish=MORE), pod("b", wish=wish("50m"))

    assert resized(world(grows, shrinks)) == ["b", "a"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"spec": {"priority": 5}}, {}),
        ({"qos": "Guaranteed", "app": res("100m 64Mi", "100m 64Mi")}, {}),
        ({"created": "2026-01-01T00:00:00Z"}, {}),
    ],
    ids=["priority", "QoS class", "age"],
)
def test_increases_go_in_the_order_of(first: dict[str, Any], second: dict[str, Any]) -> None:
    every = wish("500m", "500m")
    pods = [pod("b", wish=every, **second), pod("a", wish=every, **first)]

    assert resized(world(*pods)) == ["a", "b"]


def test_an_increase_waits_while_there_is_no_room_for_it() -> None:
    told = verdict(world(pod(wish=MORE), cpu=500, others=Room(300, 0)))

    assert told.outcome is Outcome.DEFERRED
    assert told.message == (
        "waits for room: cpu 400m more is needed, 100m is free, "
        "of cpu 500m and memory 8Gi allocatable on the node"
    )


def test_a_smaller_one_may_use_the_room_that_is_too_little_for_the_first() -> None:
    big, small = (
        pod("big", wish=wish("1900m", "1900m"), spec={"priority": 9}),
        pod("small", wish=wish("150m")),
    )

    assert resized(world(big, small, cpu=1950)) == ["small"]


def test_room_that_a_decrease_gives_back_counts_when_the_kubelet_shows_it() -> None:
    shrinks, grows = pod("a", wish=wish("100m"), app=res("900m", "1")), pod("b", wish=wish("900m", "1"))

    assert resized(world(shrinks, grows, cpu=1000)) == ["a"]


def test_what_the_node_can_never_hold_is_infeasible_without_a_call() -> None:
    state = world(pod(wish=wish("64", "64")))

    assert resized(state) == []
    assert verdict(state).outcome is Outcome.INFEASIBLE
    assert verdict(state).message == "the node can never hold it: cpu 64 is requested, 2 is allocatable"


@pytest.mark.parametrize("reported", ["by the kubelet", "by the API server"])
def test_both_ways_of_infeasible_end_the_same(reported: str) -> None:
    values = (("app", "requests", "cpu", "500m"), ("app", "limits", "cpu", "1"))
    state = {
        "by the kubelet": world(
            pod(wish=MORE, app=res("500m 64Mi", "1 128Mi"), conditions=[pending("Infeasible", "static CPUs")])
        ),
        "by the API server": world(
            seen(pod(wish=MORE), refusal=Refusal(_values(values), Blame.ROOM, "static CPUs", 30.0))
        ),
    }[reported]

    told = verdict(state)
    assert told.outcome is Outcome.INFEASIBLE
    assert "static CPUs" in told.message
    assert resized(state) == []


def _values(values: Any) -> Any:
    (step,) = [each for each in plan(world(pod(wish=MORE))).steps if isinstance(each, Resize)]
    assert step.values == values
    return step.values


def test_another_wish_is_tried_although_the_last_was_refused() -> None:
    refusal = Refusal(
        _values((("app", "requests", "cpu", "500m"), ("app", "limits", "cpu", "1"))), Blame.ROOM, "", 9
    )

    assert resized(world(seen(pod(wish=wish("400m", "1")), refusal=refusal))) == ["web"]


def test_an_infeasible_wish_is_rolled_back_where_that_is_asked_for() -> None:
    asked = wish("500m", "1", onInfeasible="Rollback")
    stuck = pod(
        wish=asked, app=res("500m 64Mi", "1 128Mi"), status={"app": res("100m 64Mi", "200m 128Mi")},
        conditions=[pending("Infeasible", "static CPUs")],
    )  # fmt: skip

    told = verdict(world(stuck))

    assert told.outcome is Outcome.ROLLED_BACK
    assert told.record.before is not None
    assert dict(told.record.before["app"].requests) == {"cpu": "100m", "memory": "64Mi"}
    assert "restored app: cpu request 100m" in told.message
    assert "static CPUs" in told.message


def test_what_is_recorded_as_rolled_back_is_restored_and_not_tried_again() -> None:
    asked = wish("500m", "1", onInfeasible="Rollback")
    before = {"app": msgspec.convert(res("100m 64Mi", "200m 128Mi"), type(pod().spec.resources))}
    spec = res("500m 64Mi", "1 128Mi")
    stuck = recorded(pod(wish=asked, app=spec), Outcome.ROLLED_BACK, before=before, cause="too big")
    restored = recorded(pod(wish=asked), Outcome.ROLLED_BACK, before=before, cause="too big")

    (step,) = plan(world(stuck)).steps
    assert isinstance(step, Resize)
    assert step.values == (("app", "requests", "cpu", "100m"), ("app", "limits", "cpu", "200m"))
    assert plan(world(restored)).steps == ()
    assert verdict(world(restored)).outcome is Outcome.ROLLED_BACK


def test_a_roll_back_that_has_to_wait_for_room_stays_one() -> None:
    before = {"app": msgspec.convert(res("500m 64Mi", "1 128Mi"), type(pod().spec.resources))}
    smaller = recorded(pod(wish=wish("50m")), Outcome.ROLLED_BACK, before=before, cause="too small")

    state = world(smaller, cpu=500, others=Room(300, 0))

    told = verdict(state)
    assert plan(state).steps == ()
    assert (told.outcome, told.record.before, told.record.cause) == (Outcome.ROLLED_BACK, before, "too small")
    assert "that waits for room: cpu 400m more is needed, 100m is free" in told.message


def test_a_decrease_that_the_kubelet_cannot_bring_into_force_is_rolled_back_to_what_is_in_force() -> None:
    old, less = res("1 128Mi", "1 128Mi"), res("500m 64Mi", "500m 64Mi")
    asked = {"containers": {"app": less}, "onDeferred": "Rollback", "deadlineSeconds": 10}
    stuck = pod(
        wish=asked, app=less, status={"app": old}, qos="Guaranteed",
        conditions=[acting("Error", "attempting to set memory limit below current usage")],
    )  # fmt: skip
    status = msgspec.structs.replace(stuck.status.container_statuses[0], allocated_resources=less["requests"])
    stuck = msgspec.structs.replace(
        stuck, status=msgspec.structs.replace(stuck.status, container_statuses=[status])
    )
    stuck = recorded(stuck, Outcome.UNSAFE, since=NOW - timedelta(seconds=10))

    told = verdict(world(stuck))

    assert told.outcome is Outcome.ROLLED_BACK
    assert told.record.before is not None
    assert dict(told.record.before["app"].requests) == old["requests"]
    assert dict(told.record.before["app"].limits) == old["limits"]


def test_a_newer_wish_ends_a_roll_back() -> None:
    before = {"app": msgspec.convert(res("100m"), type(pod().spec.resources))}
    old = recorded(pod(wish=wish("64")), Outcome.ROLLED_BACK, before=before)
    annotations = {
        **old.metadata.annotations,
        names.RESOURCES_ANNOTATION: '{"containers":{"app":{"requests":{"cpu":"150m"}}}}',
    }
    newer = msgspec.structs.replace(
        old, metadata=msgspec.structs.replace(old.metadata, annotations=annotations)
    )

    assert resized(world(newer)) == ["web"]


@pytest.mark.parametrize(("seconds", "outcome"), [(9, Outcome.DEFERRED), (10, Outcome.ROLLED_BACK)])
def test_a_wait_ends_with_its_deadline(seconds: int, outcome: Outcome) -> None:
    asked = wish("500m", "1", onDeferred="Rollback", deadlineSeconds=10)
    waits = recorded(pod(wish=asked), Outcome.DEFERRED, since=NOW - timedelta(seconds=seconds))

    assert verdict(world(waits, cpu=500, others=Room(300, 0))).outcome is outcome


def test_the_plan_is_made_again_when_a_deadline_is_over() -> None:
    asked = wish("500m", "1", onDeferred="Rollback", deadlineSeconds=10)

    assert plan(world(pod(wish=asked), cpu=500, others=Room(300, 0))).wake_in == 10


def test_a_deferral_by_the_kubelet_is_told_with_what_it_says() -> None:
    waits = pod(wish=MORE, app=res("500m 64Mi", "1 128Mi"), conditions=[pending("Deferred", "node is full")])

    assert verdict(world(waits)).message == "the kubelet says: node is full"


def test_what_the_kubelet_says_of_an_older_spec_is_not_believed() -> None:
    waits = pod(
        wish=MORE,
        app=res("500m 64Mi", "1 128Mi"),
        conditions=[pending("Deferred", observedGeneration=3)],
        metadata={"generation": 4},
        more_status={"observedGeneration": 3},
    )

    assert verdict(world(waits)).outcome is Outcome.RESIZING


def test_a_memory_limit_near_what_is_in_use_is_held_back() -> None:
    state = world(seen(pod(wish=LESS_MEMORY), usage={"app": 60 * MIB}))

    told = verdict(state)
    assert told.outcome is Outcome.UNSAFE
    assert (
        told.message == "app: memory limit 72Mi waits until less is in use: 60Mi is, 16Mi must be left above"
    )
    assert plan(state).steps == ()
    assert plan(state).wake_in == 2.0


@pytest.mark.parametrize(
    ("usage", "fields"),
    [({"app": 56 * MIB}, {}), ({"app": 100 * MIB}, {"policy": ["memory"]})],
    ids=["enough is free", "the container restarts anyway"],
)
def test_a_memory_limit_is_lowered_when(usage: dict[str, int], fields: dict[str, Any]) -> None:
    assert resized(world(seen(pod(wish=LESS_MEMORY, **fields), usage=usage))) == ["web"]


def test_a_memory_limit_is_held_back_while_nobody_tells_what_is_in_use() -> None:
    assert verdict(world(seen(pod(wish=LESS_MEMORY), usage={"app": None}))).outcome is Outcome.UNSAFE


def test_the_runtime_is_asked_only_for_what_is_needed() -> None:
    def asked(asking: Any) -> Any:
        return plan(world(PodSeen(pod(wish=asking)))).questions.get("uid-web")

    assert asked(MORE) is None
    assert asked(LESS_MEMORY) is Question.USAGE
    assert asked(wish("- 80Mi")) is Question.NUMBERS
    assert asked(wish("100m")) is Question.NUMBERS


def test_memory_of_a_container_that_swaps_is_refused() -> None:
    swapping = {"app": Numbers(unified={"memory.swap.max": "max"})}

    told = verdict(world(seen(pod(wish=wish("- 80Mi")), numbers=swapping)))

    assert told.outcome is Outcome.ERROR
    assert "may swap; allowed: resizePolicy RestartContainer for memory" in told.message


def test_a_short_resize_is_not_told_before_it_has_ended() -> None:
    at_it = pod(wish=MORE, app=res("500m 64Mi", "1 128Mi"), conditions=[acting()])

    assert plan(world(seen(at_it, patched_for=0.1))).verdicts == ()
    assert plan(world(seen(at_it, patched_for=0.1))).wake_in == pytest.approx(0.4)
    assert verdict(world(seen(at_it, patched_for=0.6))).outcome is Outcome.RESIZING
    assert verdict(world(seen(at_it))).outcome is Outcome.RESIZING


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("attempting to set pod memory limit (1) below current usage (2)", Outcome.UNSAFE),
        ("EIO", Outcome.ERROR),
    ],
)
def test_what_fails_on_the_node_is_told(message: str, outcome: Outcome) -> None:
    failing = pod(wish=MORE, app=res("500m 64Mi", "1 128Mi"), conditions=[acting("Error", message)])

    assert verdict(world(failing)).outcome is outcome
    assert message in verdict(world(failing)).message


@pytest.mark.parametrize(
    "more",
    [
        {"status": {"app": res("100m 64Mi", "200m 128Mi")}},
        {"metadata": {"generation": 4}, "more_status": {"observedGeneration": 3}},
    ],
    ids=["other resources are in force", "the kubelet has not seen the spec"],
)
def test_the_kubelet_must_agree(more: dict[str, Any]) -> None:
    assert verdict(world(pod(wish=MORE, app=res("500m 64Mi", "1 128Mi"), **more))).outcome is Outcome.RESIZING


def test_the_runtime_must_agree() -> None:
    there = pod(wish=wish("100m"))
    other = {"app": Numbers(100_000, 20_000, 999, 128 * MIB)}

    young = plan(world(seen(there, numbers=other, doubted_for=1.0)))
    old = plan(world(seen(there, numbers=other, doubted_for=3.0)))

    assert (young.steps, young.verdicts, young.doubted) == ((), (), frozenset({"uid-web"}))
    assert young.wake_in == 2.0
    (step,) = old.steps
    assert isinstance(step, Repair)
    assert (step.container_id, step.why) == ("containerd://app-1", "cpu shares are 999, not 102")


def test_a_runtime_that_keeps_its_own_numbers_is_told_of() -> None:
    other = {"app": Numbers(100_000, 20_000, 999, 128 * MIB)}

    told = verdict(world(seen(pod(wish=wish("100m")), numbers=other, repairs=2)))

    assert told.outcome is Outcome.ERROR
    assert told.message == "the runtime does not keep what it is told: cpu shares are 999, not 102"


def test_a_runtime_that_tells_no_numbers_is_left_to_the_kubelet() -> None:
    assert verdict(world(seen(pod(wish=wish("100m")), numbers={"app": None}))).outcome is Outcome.IN_SYNC


def test_a_runtime_that_is_away_takes_nothing_back() -> None:
    there = pod(wish=wish("100m"))

    assert verdict(world(PodSeen(there, problem="down"))).outcome is Outcome.RESIZING
    assert plan(world(PodSeen(recorded(there, Outcome.IN_SYNC), problem="down"))).verdicts == ()


def test_a_restart_by_policy_names_the_container_that_is_stopped() -> None:
    (step,) = plan(world(pod(wish=MORE, policy=["cpu"]))).steps

    assert isinstance(step, Resize)
    assert step.restarts == {"app": "containerd://app-1"}


def test_a_container_that_waits_is_not_in_sync_yet() -> None:
    document = msgspec.to_builtins(pod(wish=MORE, app=res("500m 64Mi", "1 128Mi")))
    document["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}

    told = verdict(world(msgspec.convert(document, LocalPod)))

    assert (told.outcome, told.message) == (Outcome.RESIZING, "app is not running: CrashLoopBackOff")


def test_without_the_subresource_nothing_is_attempted() -> None:
    state = world(pod(wish=MORE), served=Served(resize=False, version="v1.31.4"))

    assert plan(state).steps == ()
    assert verdict(state).outcome is Outcome.UNSUPPORTED
    assert verdict(state).message.endswith("Kubernetes 1.33 or newer is needed; this is v1.31.4")


def test_a_kubelet_that_tells_no_resources_is_unsupported() -> None:
    document = msgspec.to_builtins(pod(wish=MORE))
    del document["status"]["containerStatuses"][0]["resources"]

    assert verdict(world(msgspec.convert(document, LocalPod))).outcome is Outcome.UNSUPPORTED


@pytest.mark.parametrize(
    "text", ["", "null", '{"containers":[]}', '{"containers":{"app":{"requests":{"cpu":"x"}}}}']
)
def test_a_hostile_annotation_does_nothing_but_be_told_of(text: str) -> None:
    state = world(pod(wish=text), pod("other", wish=MORE))

    assert resized(state) == ["other"]
    assert verdict(state).outcome is Outcome.ERROR


def test_a_pod_that_ends_is_left_alone() -> None:
    gone = pod("a", wish=MORE, metadata={"deletionTimestamp": "2026-05-01T11:59:00Z"})
    ended = pod("b", wish=MORE, more_status={"phase": "Failed"})

    assert plan(world(gone, ended)) == plan(world())


def test_a_wish_that_is_withdrawn_is_told_of() -> None:
    asked = recorded(pod(wish=MORE), Outcome.DEFERRED)
    annotations = {names.RESIZE_RECORD_ANNOTATION: asked.metadata.annotations[names.RESIZE_RECORD_ANNOTATION]}
    free = msgspec.structs.replace(
        asked, metadata=msgspec.structs.replace(asked.metadata, annotations=annotations)
    )

    assert verdict(world(free)).message == "nothing is wanted any more"


def test_since_when_a_pod_waits_survives_what_it_waits_for() -> None:
    waits = recorded(pod(wish=MORE), Outcome.UNSAFE, since=NOW - timedelta(minutes=1))

    told = verdict(world(waits, cpu=500, others=Room(300, 0)))

    assert told.record.since == NOW - timedelta(minutes=1)
    assert told.begins


def test_without_the_node_the_kubelet_counts_room() -> None:
    state = world(pod(wish=wish("64", "64")))
    blind = msgspec.structs.replace(state, allocatable=None)

    assert resized(blind) == ["web"]


def test_the_pod_as_a_whole_can_be_resized() -> None:
    whole = pod(wish={"pod": res("500m")}, spec={"resources": res("200m", "1")})

    (step,) = plan(world(whole)).steps

    assert isinstance(step, Resize)
    assert step.values == (("", "requests", "cpu", "500m"),)


def test_all_containers_of_a_wish_are_one_patch() -> None:
    both = {"containers": {"app": res("200m"), "mesh": res("20m")}}

    (step,) = plan(world(pod(wish=both, sidecars={"mesh": res("10m")}))).steps

    assert isinstance(step, Resize)
    assert [each.container for each in step.values] == ["app", "mesh"]


def test_what_the_runtime_says_of_a_limit_free_container_is_enough() -> None:
    free = pod(wish=wish("100m"), app=res("100m 64Mi"))

    assert verdict(world(seen(free, numbers=numbers(free)))).outcome is Outcome.IN_SYNC
