"""Which pods of one owner may restart now."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.objects.local_pods import Container, ContainerState, LocalPod, Terminated
from daemon.objects.restart_grants import budget, granted, has_opted_in
from daemon.objects.running_containers import wanted_fingerprints
from daemon.restartgrants.planner import Observed, Plan, alias_of, group_of, plan
from tests.unit.restarting_pods import (
    COLOUR,
    NOW,
    READY,
    UPDATING,
    grant,
    id_of,
    running,
    told,
    web,
)

DIGEST = f"sha256:{'a' * 64}"


def pod(number: int, colour: str = "blue", *, ready: bool = True, **changes: Any) -> LocalPod:
    """It runs with red."""
    return web(
        running(number),
        colour=colour,
        owned=True,
        name=f"web-{number}",
        conditions=(READY,) if ready else (),
        **{"runs": told(number), **changes},
    )


def planned(*pods: LocalPod, **fields: Any) -> Plan:
    return plan(Observed(pods=pods, now=NOW, **{"monotonic": 100.0, **fields}))


def names_of(made: Plan) -> list[str]:
    return [each.pod.metadata.name for each in made.grants]


def test_one_pod_at_a_time_restarts() -> None:
    made = planned(pod(1), pod(2), pod(3))

    assert names_of(made) == ["web-1"]
    assert made.grants[0].containers == {"app": id_of(1)}
    assert made.grants[0].images == {}


def test_the_next_one_waits_until_the_first_is_back() -> None:
    assert names_of(planned(pod(1, annotations=grant(1)), pod(2))) == []
    assert names_of(planned(pod(1, colour="red", ready=False), pod(2))) == []
    assert names_of(planned(pod(1, colour="red"), pod(2))) == ["web-2"]


def test_a_pod_that_is_away_already_restarts_whatever_the_budget() -> None:
    """Else a bad value that lets no pod become ready could not be mended."""
    assert names_of(planned(pod(1, ready=False), pod(2, ready=False), pod(3))) == ["web-1", "web-2"]


@pytest.mark.parametrize(
    ("text", "count"), [("2", 2), ("50%", 2), ("49%", 1), ("100%", 4), ("1%", 1), ("9", 4), ("nonsense", 1)]
)
def test_more_restart_where_the_pods_allow_it(text: str, count: int) -> None:
    allowed = {names.MAX_UNAVAILABLE_ANNOTATION: text}

    assert len(planned(*(pod(number, annotations=allowed) for number in range(1, 5))).grants) == count


def test_a_pod_that_is_being_deleted_neither_restarts_nor_counts() -> None:
    going = pod(1, ready=False)
    metadata = msgspec.structs.replace(going.metadata, deletion_timestamp=NOW)

    assert names_of(planned(msgspec.structs.replace(going, metadata=metadata), pod(2))) == ["web-2"]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_neither_restarts_nor_counts(phase: str) -> None:
    evicted = pod(1, ready=False)
    status = msgspec.structs.replace(evicted.status, phase=phase)

    assert names_of(planned(msgspec.structs.replace(evicted, status=status), pod(2))) == ["web-2"]


def test_a_pod_that_is_being_updated_in_place_restarts_without_a_grant() -> None:
    changing = pod(1)
    status = msgspec.structs.replace(changing.status, conditions=(READY, UPDATING))

    assert planned(msgspec.structs.replace(changing, status=status)) == Plan()


def test_images_of_openkruises_pods_are_left_alone() -> None:
    found = ended(pod(1), timedelta(0))
    owner = msgspec.structs.replace(found.metadata.owner_references[0], api_version="apps.kruise.io/v1beta1")
    metadata = msgspec.structs.replace(found.metadata, owner_references=(owner,))

    made = planned(msgspec.structs.replace(found, metadata=metadata))

    assert [each.images for each in made.grants] == [{}]


def test_a_pod_in_sync_or_unknown_gets_no_grant() -> None:
    unknown = web(running(2), colour="blue", owned=True, name="web-2", conditions=(READY,))

    assert planned(pod(1, colour="red"), unknown) == Plan()


def test_a_pod_whose_agent_has_given_up_holds_nobody_up_and_is_granted_nothing() -> None:
    given_up = told(1, given_up=wanted_fingerprints(pod(1))["app"])

    assert names_of(planned(pod(1, runs=given_up), pod(2))) == ["web-2"]
    assert names_of(planned(pod(1, colour="green", runs=given_up), pod(2))) == ["web-1"]


def test_a_grant_for_a_predecessor_is_none() -> None:
    assert names_of(planned(pod(2, annotations=grant(1)))) == ["web-2"]


def test_only_pods_that_opted_in_and_have_an_owner_are_decided_here() -> None:
    assert group_of(pod(1)) == "rs"
    assert group_of(web()) == ""
    assert group_of(web(owned=True, opted_in=False)) == ""
    assert has_opted_in(web(conditions=(UPDATING,)))


def ended(found: LocalPod, ago: timedelta) -> LocalPod:
    """Its container had a predecessor."""
    before = ContainerState(terminated=Terminated(finished_at=NOW - ago))
    status = msgspec.structs.replace(found.status.container_statuses[0], last_state=before, restart_count=1)
    return msgspec.structs.replace(
        found, status=msgspec.structs.replace(found.status, container_statuses=(status,))
    )


def test_a_container_that_would_wait_gets_another_reference_to_its_image() -> None:
    made = planned(ended(pod(1), timedelta(minutes=9)))

    assert made.grants[0].images == {"app": f"registry.test/app:inplaced-restart-2@{DIGEST}"}


@pytest.mark.parametrize(
    ("ago", "strategy", "own"),
    [
        (timedelta(minutes=11), "image-alias", ""),
        (timedelta(minutes=1), "stop", ""),
        (timedelta(minutes=1), "image-alias", "stop"),
    ],
)
def test_else_it_is_stopped(ago: timedelta, strategy: str, own: str) -> None:
    annotations = {names.RESTART_STRATEGY_ANNOTATION: own} if own else {}

    made = planned(ended(pod(1, annotations=annotations), ago), strategy=strategy)

    assert made.grants[0].images == {}


def test_a_pod_may_choose_the_other_reference_by_itself() -> None:
    chosen = {names.RESTART_STRATEGY_ANNOTATION: "image-alias"}

    assert planned(ended(pod(1, annotations=chosen), timedelta(0)), strategy="stop").grants[0].images


def test_an_image_that_was_refused_is_left_alone() -> None:
    made = planned(ended(pod(1), timedelta(0)), refused=frozenset({"uid-web-1"}))

    assert made.grants[0].images == {}


def test_an_image_changes_only_when_the_annotations_have_settled() -> None:
    made = planned(ended(pod(1), timedelta(0)), pod(2), settled_at={"uid-web-1": 100.04})

    assert names_of(made) == []
    assert made.again_in == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("image", "image_id", "alias"),
    [
        ("app:v1", f"docker.io/library/app@{DIGEST}", f"docker.io/library/app:inplaced-restart-1@{DIGEST}"),
        (f"r.test/app@{DIGEST}", f"r.test/app@{DIGEST}", f"r.test/app:inplaced-restart-1@{DIGEST}"),
        (
            f"r.test/app:inplaced-restart-4@{DIGEST}",
            f"r.test/app@{DIGEST}",
            f"r.test/app:inplaced-restart-1@{DIGEST}",
        ),
        ("r.test/app:v1", f"mirror.test/app@{DIGEST}", ""),
        ("r.test/app:v1", f"sha256:{'a' * 64}", ""),
        ("r.test/app:v1", "", ""),
        ("not an image", f"r.test/app@{DIGEST}", ""),
    ],
)
def test_another_reference_is_one_that_the_runtime_has(image: str, image_id: str, alias: str) -> None:
    status = msgspec.structs.replace(running(), image_id=image_id)

    assert alias_of(Container(name="app", image=image, env=(COLOUR,)), status) == alias


pods_ = st.lists(
    st.tuples(st.sampled_from(["red", "blue"]), st.booleans(), st.booleans()), min_size=1, max_size=8
)


@given(pods_, st.sampled_from(["1", "2", "50%", "100%", "x"]))
def test_no_grant_takes_more_pods_away_than_may_be(
    states: Sequence[tuple[str, bool, bool]], text: str
) -> None:
    allowed = {names.MAX_UNAVAILABLE_ANNOTATION: text}
    pods = [
        pod(number, colour, ready=ready, annotations={**allowed, **(grant(number) if open_ else {})})
        for number, (colour, ready, open_) in enumerate(states, 1)
    ]
    limit = budget(pods[0], len(pods)).pods

    made = planned(*pods)

    there = {each.metadata.name for each in pods if READY in each.status.conditions and not granted(each)}
    taken = there & set(names_of(made))
    assert len(pods) - len(there) + len(taken) <= max(limit, len(pods) - len(there))
    assert len(names_of(made)) == len(set(names_of(made)))
    drifted = {each.metadata.name for each in pods if each.metadata.annotations["colour"] == "blue"}
    assert set(names_of(made)) <= drifted
