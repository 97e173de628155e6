"""What a pod, or a restart of pods, waits for, said so that a person knows what to do."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.cli.why_pods import PodScene, means, why_pod, why_pods_of_node, why_request, why_restart
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.meta import LabelSelector, OwnerReference
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.objects.workload_restarts import (
    WorkloadReference,
    WorkloadRestart,
    WorkloadRestartStatus,
)
from tests.unit.restart_worlds import NOW, pod, request, restart
from tests.unit.test_launch_order import gate
from tests.unit.test_launch_order import pod as ordered

LATER = NOW + timedelta(minutes=1)


def scene(
    *requests: ContainerRecreateRequest,
    restarts: Sequence[WorkloadRestart] = (),
    renewed: Mapping[str, datetime] | None = None,
) -> PodScene:
    return PodScene(LATER, requests, restarts, renewed)


def placed(made: LocalPod, *conditions: LocalPodCondition) -> LocalPod:
    """On a node, with those conditions besides its own."""
    status = msgspec.structs.replace(made.status, conditions=(*made.status.conditions, *conditions))
    return msgspec.structs.replace(
        made, spec=msgspec.structs.replace(made.spec, node_name="n1"), status=status
    )


def told(request: ContainerRecreateRequest, phase: str, message: str) -> ContainerRecreateRequest:
    metadata = msgspec.structs.replace(request.metadata, creation_timestamp=NOW)
    status = msgspec.structs.replace(request.status, phase=phase, message=message, node_name="n1")
    return msgspec.structs.replace(request, metadata=metadata, status=status)


def lines(made: LocalPod, of: PodScene) -> list[str]:
    return list(why_pod(made, of))


def test_a_pod_of_which_nothing_is_asked_is_told_so() -> None:
    assert lines(placed(pod()), scene()) == ["pod/web-0: is ready, and nothing is asked of it"]


def test_a_pod_on_no_node_is_the_scheduler_s() -> None:
    assert lines(pod(ready=False), scene())[0].startswith(
        "pod/web-0: is on no node yet; kubectl describe pod"
    )


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            LocalPodCondition(type=names.IN_PLACE_UPDATE_READY, status="False", reason="StartInPlaceUpdate"),
            "is being updated in place: StartInPlaceUpdate",
        ),
        (
            LocalPodCondition(
                type=names.KRUISE_POD_READY, status="False", message='[{"userAgent":"X","key":"shop/r"}]'
            ),
            "is kept out of traffic by X shop/r",
        ),
        (
            LocalPodCondition(
                type=names.CONTAINERS_IN_SYNC, status="False", reason="BackOff", message="until 12:00"
            ),
            "its containers are not in sync: BackOff: until 12:00",
        ),
        (
            LocalPodCondition(type=names.RESOURCES_IN_SYNC, status="False", reason="Deferred"),
            "its resources are not in sync: Deferred",
        ),
        (
            LocalPodCondition(
                type=names.NEXT_REVISION_READY, status="False", reason="Pulling", message="42 %"
            ),
            "what it becomes next is not prepared: Pulling: 42 %",
        ),
    ],
)
def test_a_condition_says_what_keeps_the_pod(condition: LocalPodCondition, said: str) -> None:
    assert f"  {said}" in lines(placed(pod(ready=False), condition), scene())


def test_for_how_long_it_waits_stands_beside_the_reason_and_who_holds_the_room_beneath() -> None:
    deferred = LocalPodCondition(
        type=names.RESOURCES_IN_SYNC,
        status="False",
        reason="Deferred",
        message="waits for room",
        last_transition_time=NOW,
    )
    asked = told(request(restart(), placed(pod())), "Pending", "waits for the agent")

    _, *said = why_pod(placed(pod(), deferred), scene(asked), ["cpu 1 is held by shop/db"])

    assert said == [
        "  its resources are not in sync: Deferred for 60s: waits for room",
        "    cpu 1 is held by shop/db",
        f"  containerrecreaterequest/{asked.metadata.name} is Pending: waits for the agent",
    ]


def test_of_a_node_those_pods_are_named_that_change_in_place() -> None:
    deferred = LocalPodCondition(type=names.RESOURCES_IN_SYNC, status="False", reason="Deferred")
    done = LocalPodCondition(type=names.RESOURCES_IN_SYNC, status="True", reason="InSync")
    many = [placed(pod(name=f"web-{number:02}"), deferred) for number in range(21)]

    assert list(why_pods_of_node([placed(pod()), placed(pod(), done)], LATER)) == []
    first, *_, last = why_pods_of_node(many, LATER)
    assert first == "  pod/web-00 in shop: its resources are not in sync: Deferred"
    assert last == "  and 1 more"


def test_a_container_in_the_launch_order_names_those_before_it() -> None:
    held = placed(ordered([5, 1], ["waiting", "waiting"], {gate(5): "true"}))

    assert (
        "  container c1 waits for its turn in the launch order (priority 1): c0 (priority 5) first"
        in lines(held, scene())
    )


def test_a_container_that_should_have_been_let_in_asks_for_the_controller() -> None:
    held = placed(ordered([5, 1], ["waiting", "waiting"]))

    assert (
        "  container c0 waits for its turn in the launch order (priority 5); is the controller running?"
        in lines(held, scene())
    )


def test_requests_are_told_in_turn_and_with_whom_they_wait_behind() -> None:
    made, about = restart(), placed(pod())
    first = told(request(made, about), "Recreating", "waits for app")
    second = msgspec.structs.replace(
        told(request(made, about), "Pending", ""),
        metadata=msgspec.structs.replace(
            first.metadata, name="second", creation_timestamp=NOW + timedelta(seconds=1)
        ),
    )

    found = lines(about, scene(second, first))

    assert found[1] == f"  containerrecreaterequest/{first.metadata.name} is Recreating: waits for app"
    assert found[2].endswith(f"nobody has taken it up for 59s, behind {first.metadata.name}")


def test_a_silent_agent_is_told_where_it_matters() -> None:
    made, about = restart(), placed(pod())
    asked = told(request(made, about), "Pending", "waits for the agent")

    others = {"n2": LATER}
    assert "  no agent has given a sign of life on node n1" in lines(about, scene(asked, renewed=others))
    nowhere = "  no agent has given a sign of life; is --release-namespace the release's?"
    assert nowhere in lines(about, scene(asked, renewed={}))
    assert len(lines(about, scene(asked, renewed={"n1": LATER}))) == 2
    assert len(lines(about, scene(renewed={}))) == 1, "nothing is asked, so nobody is missed"
    waiting = placed(pod(ready=False))
    assert lines(waiting, scene(renewed={}))[1:] == ["  container app runs and is not ready"]


def test_a_restart_that_has_not_come_to_the_pod_says_what_it_waits_for() -> None:
    about = placed(pod())
    about = msgspec.structs.replace(
        about, metadata=msgspec.structs.replace(about.metadata, labels={"app": "web"})
    )
    made = restart(WorkloadRestartStatus(message="1 of 3 pods restarted; not ready: web-9"))

    (_, said) = lines(about, scene(restarts=[made]))

    assert said == "  workloadrestart/r has not come to it: 1 of 3 pods restarted; not ready: web-9"
    assert lines(about, scene(told(request(made, about), "Pending", "x"), restarts=[made]))[1:] == [
        f"  containerrecreaterequest/{request(made, about).metadata.name} is Pending: x"
    ]


@pytest.mark.parametrize(
    ("kind", "name", "owner", "meant"),
    [
        ("Deployment", "web", ("ReplicaSet", "web-6d9f"), True),
        ("Deployment", "web", ("ReplicaSet", "web-api-6d9f"), False),
        ("Deployment", "web", ("StatefulSet", "web-6d9f"), False),
        ("StatefulSet", "web", ("StatefulSet", "web"), True),
        ("StatefulSet", "web", ("StatefulSet", "other"), False),
    ],
)
def test_a_restart_by_reference_is_about_the_pods_of_that_workload(
    kind: str, name: str, owner: tuple[str, str], *, meant: bool
) -> None:
    made, about = restart(), pod()
    reference = WorkloadReference(api_version="apps/v1", kind=kind, name=name)
    spec = msgspec.structs.replace(made.spec, selector=None, workload_ref=reference)
    owners = (OwnerReference(kind=owner[0], name=owner[1], uid="u", controller=True),)
    about = msgspec.structs.replace(
        about, metadata=msgspec.structs.replace(about.metadata, owner_references=owners)
    )

    assert means(msgspec.structs.replace(made, spec=spec), about) == meant


def test_a_restart_of_another_namespace_is_about_none_of_these_pods() -> None:
    made = restart()
    elsewhere = msgspec.structs.replace(made.metadata, namespace="other")
    everything = msgspec.structs.replace(made.spec, selector=LabelSelector())

    assert means(msgspec.structs.replace(made, spec=everything), pod())
    assert not means(msgspec.structs.replace(made, metadata=elsewhere, spec=everything), pod())


def test_a_request_tells_how_far_each_container_is() -> None:
    made, about = restart(), pod()
    ended = told(request(made, about, "Completed", {"app": "Failed"}), "Completed", "0 of 1 recreated")

    first, second = why_request(ended, scene())

    assert first.endswith("for pod/web-0: is over. 0 of 1 recreated")
    assert second == "  app: Failed: said"


def test_a_restart_tells_of_pods_under_way_and_of_those_that_failed() -> None:
    failures: Any = [{"pod": "web-1", "reason": "RecreateFailed", "message": "not ready"}]
    status = msgspec.convert(
        {"message": "1 of 3 pods restarted", "failures": failures}, WorkloadRestartStatus
    )
    made = restart(status)

    found = list(why_restart(made, scene(told(request(made, pod()), "Recreating", "stops app"))))

    assert found[0] == "workloadrestart/r for pods by labels: 1 of 3 pods restarted"
    assert found[1].startswith("  pod/web-0: containerrecreaterequest/r-")
    assert found[1].endswith("is Recreating: stops app")
    assert found[2] == "  pod/web-1: failed. RecreateFailed: not ready"


def test_a_restart_that_nobody_took_up_asks_for_the_controller() -> None:
    (said,) = why_restart(restart(), scene())

    assert said.endswith(
        "nobody has taken it up for 60s; is the controller running? kubectl -n inplaced get pods"
    )
