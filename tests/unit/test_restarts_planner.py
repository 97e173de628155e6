"""What is done for a pod's containers that differ from its labels and annotations."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.objects.container_hashes import environment_hash
from daemon.objects.local_pods import (
    Container,
    EnvFrom,
    Lifecycle,
    LifecycleHandler,
    LocalPod,
    LocalPodCondition,
    Readiness,
    SleepAction,
)
from daemon.objects.planned_restarts import counted
from daemon.objects.running_containers import drifted as drifted_containers
from daemon.objects.running_containers import running_containers, wanted_fingerprints
from daemon.restarts.planner import LONG, SLOW, plan
from daemon.restarts.plans import MOST_TRIES, Observed, Plan, Record, Stopping, Tries, Unreadable
from tests.unit.restarting_pods import (
    COLOUR,
    IMAGE,
    NOW,
    OWNER,
    UPDATING,
    grant,
    id_of,
    record,
    running,
    told,
    waiting,
    web,
)


def observed(
    pod: LocalPod, records: Mapping[str, Record | Unreadable] | None = None, **fields: Any
) -> Observed:
    return Observed(
        pod=pod,
        now=NOW,
        **{"monotonic": 100.0, "records": {id_of(1): record()} if records is None else records, **fields},
    )


def stopped(made: Plan) -> list[str]:
    return [each.container_id for each in made.stops]


def said(made: Plan) -> tuple[str, str] | None:
    """Status and reason of the condition that is written."""
    found = [each for each in _conditions(made) if each.type == names.CONTAINERS_IN_SYNC]
    return (found[0].status, found[0].reason) if found else None


def stop_counted(pod: LocalPod) -> dict[str, str]:
    """The annotations of a pod whose container 1 was counted before it is stopped."""
    return {key: text for key, text in counted(pod, {"app": id_of(1)}).items() if text is not None}


def running_told(made: Plan) -> LocalPodCondition | None:
    """The condition in which it is written what runs."""
    return next((each for each in _conditions(made) if each.type == names.RUNNING_CONTAINERS), None)


def _conditions(made: Plan) -> tuple[LocalPodCondition, ...]:
    return made.report.conditions if made.report is not None else ()


def message(made: Plan) -> str:
    (found,) = (each.message for each in _conditions(made) if each.type == names.CONTAINERS_IN_SYNC)
    return found


def drifted(**fields: Any) -> LocalPod:
    """It runs with red and should run with blue."""
    return web(colour="blue", runs=told(), **fields)


def test_what_a_container_runs_with_is_read_first() -> None:
    made = plan(observed(web(), records={}))

    assert [(each.container.name, each.container_id) for each in made.looks] == [("app", id_of(1))]
    assert (made.report, made.stops) == (None, ())


def test_a_pod_in_sync_is_told_once() -> None:
    first = plan(observed(web()))

    assert said(first) == ("True", "InSync")
    assert running_told(first) == told()
    assert first.report is not None
    assert first.report.annotations == {}, "a kubelet looks at each pod whose annotations change"
    again = web(conditions=first.report.conditions)
    assert plan(observed(again)) == Plan()


def test_a_bare_pod_is_restarted_by_its_agent_alone_and_counted_before() -> None:
    made = plan(observed(drifted()))

    assert stopped(made) == [id_of(1)]
    assert said(made) == ("False", "Restarting")
    assert made.report is not None
    assert made.report.stopped == {"app": id_of(1)}


def test_a_stop_that_is_counted_already_needs_no_further_write_before_it() -> None:
    """The agent died between the two."""
    pod = drifted()
    made = plan(observed(web(colour="blue", runs=told(), annotations=stop_counted(pod))))

    assert stopped(made) == [id_of(1)]
    assert made.report is None or not made.report.stopped


def test_a_pod_with_an_owner_waits_for_the_controller() -> None:
    made = plan(observed(drifted(owned=True), since={id_of(1): 99.9}))

    assert (stopped(made), made.report) == ([], None)
    assert made.again_in == pytest.approx(LONG - 0.1)


def test_who_waits_long_says_for_what() -> None:
    made = plan(observed(drifted(owned=True), since={id_of(1): 100.0 - LONG}))

    assert said(made) == ("False", "Waiting")
    assert "ReplicaSet web-1" in message(made)
    assert "COLOUR" in message(made)


def test_a_grant_is_all_that_is_written_before_the_stop() -> None:
    pod = web(colour="blue", owned=True, runs=told(), annotations={**grant()})

    made = plan(observed(pod))

    assert stopped(made) == [id_of(1)]
    assert made.report is None


def test_a_grant_for_a_predecessor_stops_nothing() -> None:
    pod = web(running(2), colour="blue", owned=True, runs=told(2), annotations={**grant(1)})

    assert stopped(plan(observed(pod, {id_of(2): record()}))) == []


def test_the_end_of_a_granted_restart_is_one_write() -> None:
    pod = web(running(2, restarts=1), colour="blue", owned=True, runs=told(1), annotations={**grant(1)})

    made = plan(observed(pod, {id_of(2): record("blue")}))

    assert made.report is not None
    assert made.report.stopped == {"app": id_of(1)}
    assert made.report.annotations == {names.GRANT_ANNOTATION: None}
    assert running_told(made) == told(2, "blue", restarts=1)
    assert said(made) == ("True", "InSync")


@pytest.mark.parametrize("records", [{}, {id_of(2): record("blue", is_running=False)}])
def test_a_grant_stays_until_it_is_known_with_what_the_successor_runs(
    records: dict[str, Record | Unreadable],
) -> None:
    """Given back before, it would be granted again for the same change."""
    pod = web(running(2), colour="blue", owned=True, runs=told(1), annotations={**grant(1)})

    made = plan(observed(pod, records))

    assert made.report is None
    assert made.looks or made.again_in <= 1.0


def test_a_value_that_is_taken_back_stops_nothing_and_gives_the_grant_back() -> None:
    pod = web(owned=True, runs=told(), annotations={**grant()})

    made = plan(observed(pod))

    assert stopped(made) == []
    assert made.report is not None
    assert made.report.annotations == {names.GRANT_ANNOTATION: None}
    assert made.report.stopped == {}


def test_a_successor_that_lacks_a_newer_change_asks_again() -> None:
    pod = web(running(2), colour="green", owned=True, runs=told(1), annotations={**grant(1)})

    made = plan(observed(pod, {id_of(2): record("blue")}))

    assert stopped(made) == []
    assert made.report is not None
    assert made.report.annotations[names.GRANT_ANNOTATION] is None
    assert made.report.stopped == {"app": id_of(1)}


def test_nothing_is_stopped_before_the_change_has_settled() -> None:
    made = plan(observed(drifted(), settled_at=100.05))

    assert (stopped(made), made.report) == ([], None)
    assert made.again_in == pytest.approx(0.05)


@pytest.mark.parametrize("stop", [Stopping(), Stopping(done=True)])
def test_a_container_is_not_stopped_twice(stop: Stopping) -> None:
    made = plan(observed(drifted(), stops={id_of(1): stop}, since={id_of(1): 99.0}))

    assert (stopped(made), made.report) == ([], None)


def test_what_the_runtime_says_has_ended_is_not_stopped() -> None:
    """The pod's status lags behind."""
    assert stopped(plan(observed(drifted(), {id_of(1): record(is_running=False)}))) == []


def test_the_kubelet_restarts_a_container_whose_image_changed_too() -> None:
    asked = Container(name="app", image="registry.test/app:v2", env=(COLOUR,))
    pod = web(colour="blue", runs=told(), container=asked)

    made = plan(observed(pod))

    assert stopped(made) == []
    assert made.again_in <= 30.0


def test_a_kubelet_that_does_not_restart_it_is_not_waited_for_forever() -> None:
    asked = Container(name="app", image="registry.test/app:v2", env=(COLOUR,))
    pod = web(colour="blue", runs=told(), container=asked)

    assert stopped(plan(observed(pod, since={id_of(1): 69.0}))) == [id_of(1)]


def test_the_kubelets_own_restart_for_another_image_counts_as_planned() -> None:
    asked = Container(name="app", image="registry.test/app:v2", env=(COLOUR,))
    pod = web(running(2), runs=told(1), container=asked)

    made = plan(observed(pod, {id_of(2): record(image="registry.test/app:v2")}))

    assert made.report is not None
    assert made.report.stopped == {"app": id_of(1)}


def test_a_crash_does_not_count_as_planned() -> None:
    made = plan(observed(web(running(2), runs=told(1)), {id_of(2): record()}))

    assert made.report is not None
    assert made.report.stopped == {}


def test_an_update_in_place_restarts_without_asking_whoever_owns_the_pod() -> None:
    pod = gated(drifted(owned=True, opted_in=False, conditions=(UPDATING,)))

    assert stopped(plan(observed(pod))) == [id_of(1)]


def test_nothing_is_restarted_before_the_grace_period_of_an_update_is_over() -> None:
    grace = {names.GRACE_ANNOTATION: "{}"}
    pod = gated(web(colour="blue", runs=told(), annotations=grace, conditions=(UPDATING,)))

    assert stopped(plan(observed(pod))) == []


def test_nobody_else_is_restarted_but_told_that_it_drifted() -> None:
    made = plan(observed(gated(drifted(opted_in=False))))

    assert stopped(made) == []
    assert said(made) == ("False", "Drifted")
    assert names.RESTART_ANNOTATION in message(made)


@pytest.mark.parametrize("text", ["false", "yes", "", "TRUE", "\x00" * 10])
def test_only_true_opts_in(text: str) -> None:
    pod = drifted(opted_in=False)
    pod = web(colour="blue", opted_in=False, runs=told(), annotations={names.RESTART_ANNOTATION: text})

    assert stopped(plan(observed(pod))) == []


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_a_container_that_might_not_come_back_is_not_stopped(policy: str) -> None:
    pod = drifted()
    pod = msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, restart_policy=policy))

    made = plan(observed(pod))

    assert stopped(made) == []
    assert said(made) == ("False", "Failed")
    assert policy in message(made)


def test_a_static_pod_is_not_restarted_in_vain() -> None:
    mirror = {"kubernetes.io/config.mirror": "0123"}

    made = plan(observed(web(colour="blue", runs=told(), annotations={**mirror})))

    assert stopped(made) == []
    assert "static pod" in message(made)


@pytest.mark.parametrize("colour", ["x" * 100 * 1024, "\x00\x01\x02", "a\x00b", "ü" * 40 * 1024])
def test_a_value_with_which_nothing_could_start_is_refused(colour: str) -> None:
    made = plan(observed(web(colour=colour, runs=told())))

    assert stopped(made) == []
    assert said(made) == ("False", "Failed")
    assert len(message(made)) < 200


@pytest.mark.parametrize("colour", ["x" * 32 * 1024, "$(HOME)", "{{ .Env }}`id`", "a=b\nc", " ", "ü"])
def test_any_other_value_is_only_text(colour: str) -> None:
    made = plan(observed(web(colour=colour, runs=told())))

    assert stopped(made) == [id_of(1)]
    assert colour not in message(made) or colour == " "


def test_a_container_that_stays_different_is_not_restarted_for_ever() -> None:
    first = plan(observed(drifted()))
    tries = Tries(first.stops[0].fingerprint, MOST_TRIES)

    made = plan(observed(drifted(), tries={"app": tries}))

    assert stopped(made) == []
    assert said(made) == ("False", "Failed")
    assert stopped(plan(observed(web(colour="green", runs=told()), tries={"app": tries}))) == [id_of(1)]


def given_up(pod: LocalPod) -> str:
    """For what the agent restarts the container no more, as the pod tells it."""
    return running_containers(pod)["app"].given_up


def after(pod: LocalPod, made: Plan) -> LocalPod:
    """The pod with what was reported on it."""
    assert made.report is not None
    annotations = {**pod.metadata.annotations, **made.report.annotations}
    kept = {key: text for key, text in annotations.items() if text is not None}
    fresh = {each.type for each in made.report.conditions}
    conditions = (
        *(each for each in pod.status.conditions if each.type not in fresh),
        *made.report.conditions,
    )
    return msgspec.structs.replace(
        pod,
        metadata=msgspec.structs.replace(pod.metadata, annotations=kept),
        status=msgspec.structs.replace(pod.status, conditions=conditions),
    )


NUL = "a\x00b"


@pytest.mark.parametrize("granted", [{}, grant()], ids=["not granted", "granted"])
def test_a_restart_that_would_do_harm_is_given_up_and_its_grant_given_back_once(
    granted: dict[str, str],
) -> None:
    pod = web(colour=NUL, owned=True, runs=told(), annotations={**granted})

    made = plan(observed(pod))
    told_of = after(pod, made)

    assert names.GRANT_ANNOTATION not in told_of.metadata.annotations
    assert given_up(told_of) == wanted_fingerprints(pod)["app"]
    assert said(made) == ("False", "Failed")
    assert "the other pods of ReplicaSet web-1 restart without it" in message(made)
    assert plan(observed(told_of)).report is None
    assert drifted_containers(told_of) == {}


def test_a_container_whose_record_cannot_be_read_holds_no_grant() -> None:
    pod = web(colour="blue", owned=True, runs=told(), annotations={**grant()})

    made = plan(observed(pod, {id_of(1): Unreadable("no annotations")}))

    assert names.GRANT_ANNOTATION not in after(pod, made).metadata.annotations
    assert drifted_containers(after(pod, made)) == {}


def test_a_stop_that_will_be_tried_again_keeps_its_grant() -> None:
    pod = web(colour="blue", owned=True, runs=told(), annotations={**grant()})
    failed = Stopping(failure="StopContainer: UNAVAILABLE", retry_at=102.0)

    told_of = after(pod, plan(observed(pod, stops={id_of(1): failed})))

    assert names.GRANT_ANNOTATION in told_of.metadata.annotations
    assert given_up(told_of) == ""


def test_another_value_is_asked_for_again_after_one_was_given_up() -> None:
    pod = web(colour=NUL, owned=True, runs=told())
    told_of = after(pod, plan(observed(pod)))
    mended = msgspec.structs.replace(
        told_of,
        metadata=msgspec.structs.replace(
            told_of.metadata, annotations={**told_of.metadata.annotations, "colour": "blue"}
        ),
    )

    assert drifted_containers(mended) == {"app": id_of(1)}
    assert given_up(after(mended, plan(observed(mended)))) == ""


def test_a_stop_that_failed_is_told_and_tried_again_later() -> None:
    failed = Stopping(failure="StopContainer: UNAVAILABLE", retry_at=102.0)

    made = plan(observed(drifted(), stops={id_of(1): failed}))

    assert (stopped(made), said(made), made.again_in) == ([], ("False", "Failed"), 2.0)
    assert stopped(plan(observed(drifted(), stops={id_of(1): failed}, monotonic=102.0))) == [id_of(1)]


def test_a_stop_that_failed_is_tried_again_no_sooner_though_the_value_was_taken_back() -> None:
    counts = stop_counted(web())
    begun = LocalPodCondition(type=names.CONTAINERS_IN_SYNC, status="False", reason="Restarting")
    pod = web(runs=told(), annotations=counts, conditions=(begun,))
    failed = {id_of(1): Stopping(failure="no runtime", retry_at=108.0)}

    made = plan(observed(pod, stops=failed))

    assert stopped(made) == []
    assert 0 < made.again_in <= 8.0
    assert said(made) in {None, ("False", "Restarting")}
    assert stopped(plan(observed(pod, stops=failed, monotonic=108.0))) == [id_of(1)]


def test_a_stop_that_is_useless_to_try_again_is_not_when_the_value_was_taken_back() -> None:
    counts = stop_counted(web())
    begun = LocalPodCondition(type=names.CONTAINERS_IN_SYNC, status="False", reason="Restarting")
    pod = web(runs=told(), annotations=counts, conditions=(begun,))

    made = plan(observed(pod, stops={id_of(1): Stopping(failure="of another pod")}))

    assert stopped(made) == []
    assert said(made) == ("True", "InSync")


def test_a_long_pre_stop_is_told() -> None:
    hooked = Container(
        name="app",
        image=IMAGE,
        env=(COLOUR,),
        lifecycle=Lifecycle(pre_stop=LifecycleHandler(sleep=SleepAction(seconds=9))),
    )
    pod = web(colour="blue", runs=told(), container=hooked)

    made = plan(observed(pod, stops={id_of(1): Stopping()}, since={id_of(1): 90.0}))

    assert said(made) == ("False", "PreStop")


@pytest.mark.parametrize(
    ("said_by_kubelet", "seconds"),
    [
        ("back-off 10s restarting failed container=app pod=web-1_shop(uid)", 10),
        ("back-off 1m20s restarting failed container=app", 80),
        ("back-off 5m0s restarting failed container=app", 300),
    ],
)
def test_a_back_off_is_told_with_its_end(said_by_kubelet: str, seconds: int) -> None:
    status = waiting(1, reason="CrashLoopBackOff", message=said_by_kubelet)
    pod = web(status, colour="blue", owned=True, runs=told(), annotations={**grant()})

    made = plan(observed(pod))

    assert said(made) == ("False", "BackOff")
    assert f"{NOW + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}" in message(made)


def test_a_crash_loop_of_its_own_is_none_of_ours() -> None:
    status = waiting(1, reason="CrashLoopBackOff", message="back-off 10s restarting failed container")

    assert plan(observed(web(status, runs=told()))).report is None


def test_what_is_not_compared_is_told() -> None:
    asked = Container(name="app", image=IMAGE, env=(COLOUR,), env_from=(EnvFrom(),))

    assert "not compared" in message(plan(observed(web(container=asked))))


def test_a_runtime_without_records_is_told() -> None:
    made = plan(observed(web(), {id_of(1): Unreadable("the runtime keeps no record")}))

    assert said(made) == ("False", "Failed")


def test_the_deletion_of_the_pod_ends_everything() -> None:
    pod = drifted()
    going = msgspec.structs.replace(
        pod, metadata=msgspec.structs.replace(pod.metadata, deletion_timestamp=NOW)
    )

    assert plan(observed(going)) == Plan()


@pytest.mark.parametrize(
    "hostile",
    [
        {names.MAX_UNAVAILABLE_ANNOTATION: "x" * 100_000},
        {names.MAX_UNAVAILABLE_ANNOTATION: "-1"},
        {names.MAX_UNAVAILABLE_ANNOTATION: "{{ 7*7 }}"},
    ],
)
def test_a_setting_that_means_nothing_is_told_and_changes_nothing_else(hostile: dict[str, str]) -> None:
    made = plan(observed(web(annotations=hostile)))

    assert said(made) == ("True", "InSync")
    assert names.MAX_UNAVAILABLE_ANNOTATION in message(made)
    assert len(message(made)) < 300


@pytest.mark.parametrize(
    "key", [names.GRANT_ANNOTATION, names.STATE_ANNOTATION, names.PLANNED_RESTARTS_ANNOTATION]
)
@pytest.mark.parametrize("text", ["x" * 100_000, "\x00\x01", "[]", '{"app":{}}', '{"app":7}', "{{7}}", ""])
def test_what_others_write_into_our_annotations_stops_nothing(key: str, text: str) -> None:
    made = plan(observed(web(owned=True, runs=told(), annotations={key: text})))

    assert stopped(made) == []
    assert said(made) == ("True", "InSync")


def test_openkruise_is_told_hashes_of_what_runs() -> None:
    kruise = [
        {
            "apiVersion": "apps.kruise.io/v1beta1",
            "kind": "CloneSet",
            "name": "c",
            "uid": "c",
            "controller": True,
        }
    ]
    pod = web(running(4, restarts=2))
    document = msgspec.to_builtins(pod)
    document["metadata"]["ownerReferences"] = kruise

    made = plan(observed(msgspec.convert(document, LocalPod), {id_of(4): record()}))

    assert made.report is not None
    assert msgspec.json.decode(str(made.report.annotations[names.KRUISE_META_ANNOTATION])) == {
        "containers": [
            {
                "name": "app",
                "containerID": id_of(4),
                "restartCount": 2,
                "hashes": {
                    "plainHash": record().image_hash,
                    "extractedEnvFromMetadataHash": environment_hash({"COLOUR": "red"}),
                },
            }
        ]
    }


REPLACING = {names.REPLACED_ANNOTATION: f'{{"app":"{id_of(1)}"}}'}
"""An update gives container 1 another image."""


def updated(**fields: Any) -> LocalPod:
    """A pod of OpenKruise's kind whose update has replaced its container."""
    pod = gated(web(running(2, restarts=1), opted_in=False, runs=told(image="old"), **fields))
    owner = msgspec.structs.replace(OWNER, api_version=names.KRUISE_API, kind="CloneSet")
    return msgspec.structs.replace(
        pod, metadata=msgspec.structs.replace(pod.metadata, owner_references=(owner,))
    )


def test_in_an_update_the_successor_is_told_without_waking_the_kubelet() -> None:
    """A kubelet looks at a pod whose annotations change, with the gate as it was before the answer."""
    pod = updated(annotations=REPLACING, conditions=(UPDATING,))

    made = plan(observed(pod, {id_of(2): record()}, read_at={id_of(2): 100.0}))

    assert made.report is not None
    assert running_told(made) == told(2, restarts=1)
    assert (made.report.annotations, made.report.stopped) == ({}, {})
    assert made.again_in == SLOW


@pytest.mark.parametrize("conditions", [(UPDATING,), ()], ids=["no answer", "back in traffic"])
def test_what_the_controller_leaves_untold_of_an_update_the_agent_tells(
    conditions: tuple[LocalPodCondition, ...],
) -> None:
    pod = updated(annotations=REPLACING, conditions=conditions)

    made = plan(observed(pod, {id_of(2): record()}, read_at={id_of(2): 100.0 - SLOW}))

    assert made.report is not None
    assert made.report.stopped == {"app": id_of(1)}
    assert made.report.annotations.keys() == {names.REPLACED_ANNOTATION, names.KRUISE_META_ANNOTATION}
    assert made.report.annotations[names.REPLACED_ANNOTATION] is None


def test_as_long_as_an_update_has_replaced_nothing_there_is_nothing_to_tell_of_it() -> None:
    pod = gated(web(opted_in=False, runs=told(), annotations=REPLACING, conditions=(UPDATING,)))

    made = plan(observed(pod, read_at={id_of(1): 0.0}))

    assert made.report is None or not (made.report.annotations or made.report.stopped)


def gated(pod: LocalPod) -> LocalPod:
    gates = (Readiness(condition_type=names.IN_PLACE_UPDATE_READY),)
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, readiness_gates=gates))
