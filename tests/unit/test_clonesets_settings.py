"""Both versions of CloneSet in one form, and shares of pods as numbers."""

from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.objects.meta import ObjectMeta
from daemon.objects.workloads import CloneSet, CloneSetSpec
from daemon.workloads.clonesets.settings import Settings, partition_of, settings_of, share
from daemon.workloads.clonesets.upcoming import download_of
from tests.unit.clonesets import clone_set

ROLLING = {
    "partition": "50%",
    "maxUnavailable": 3,
    "maxSurge": "10%",
    "paused": True,
    "priorityStrategy": {"weightPriority": [{"weight": 5, "matchSelector": {"matchLabels": {"a": "b"}}}]},
    "scatterStrategy": [{"key": "a", "value": "b"}],
    "inPlaceUpdateStrategy": {"gracePeriodSeconds": 7},
}


def written(**spec: Any) -> CloneSet:
    """A set written in JSON."""
    whole = {"replicas": 10, "selector": {"matchLabels": {"a": "b"}}, "template": {}, **spec}
    return CloneSet(metadata=ObjectMeta(name="web"), spec=msgspec.convert(whole, CloneSetSpec))


def read(**spec: Any) -> Settings:
    """The settings of a set written in JSON."""
    return settings_of(written(**spec))


@pytest.mark.parametrize("policy", ["ReCreate", "InPlaceIfPossible", "InPlaceOnly"])
def test_both_versions_say_the_same_in_their_own_words(policy: str) -> None:
    older = read(updateStrategy={"type": policy, **ROLLING})
    newer = read(
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"podUpdatePolicy": policy, **ROLLING}}
    )

    assert older == newer
    assert (older.policy, older.partition, older.max_unavailable, older.max_surge) == (policy, 5, 3, 1)
    assert (older.paused, older.grace, len(older.weights), len(older.scatter)) == (True, 7, 1, 1)


@pytest.mark.parametrize(
    "strategy", [{}, {"type": "ReCreate"}, {"type": "RollingUpdate"}, {"rollingUpdate": {}}]
)
def test_pods_are_replaced_a_fifth_at_once_when_nothing_is_said(strategy: dict[str, Any]) -> None:
    settings = read(updateStrategy=strategy)

    assert (settings.policy, settings.partition, settings.max_unavailable, settings.max_surge) == (
        "ReCreate",
        0,
        2,
        0,
    )


def test_on_delete_is_a_policy_of_its_own() -> None:
    assert read(updateStrategy={"type": "OnDelete"}).policy == "OnDelete"


@pytest.mark.parametrize("spelling", ["inPlaceUpdateStrategy", "inplaceUpdateStrategy"])
def test_the_grace_period_is_read_in_both_spellings(spelling: str) -> None:
    strategy = {"type": "InPlaceIfPossible", spelling: {"gracePeriodSeconds": 10}}

    assert read(updateStrategy=strategy).grace == 10


@pytest.mark.parametrize("spelling", ["inPlaceUpdate", "inplaceUpdate"])
def test_the_hook_is_read_in_both_spellings(spelling: str) -> None:
    assert read(lifecycle={spelling: {"labelsHandler": {"a": "b"}}}).hooks.in_place_update.labels == {
        "a": "b"
    }


@pytest.mark.parametrize(
    ("value", "whole", "up", "down"),
    [
        (None, 10, 0, 0),
        (3, 10, 3, 3),
        (-1, 10, 0, 0),
        ("0%", 10, 0, 0),
        ("25%", 10, 3, 2),
        ("100%", 7, 7, 7),
        ("4", 10, 4, 4),
        ("many", 10, 0, 0),
        ("", 10, 0, 0),
    ],
)
def test_a_share_is_a_number_or_a_percentage(value: int | str | None, whole: int, up: int, down: int) -> None:
    assert (share(value, whole, up=True), share(value, whole, up=False)) == (up, down)


@pytest.mark.parametrize(
    ("value", "replicas", "stay"),
    [
        (None, 4, 0),
        (3, 4, 3),
        (9, 4, 4),
        ("99%", 4, 3),
        ("100%", 4, 4),
        ("50%", 3, 2),
        ("50%", 0, 0),
        ("1%", 1, 0),
    ],
)
def test_a_partition_below_all_lets_one_pod_change_at_least(
    value: int | str | None, replicas: int, stay: int
) -> None:
    assert partition_of(value, replicas) == stay


def test_with_surge_the_percentage_that_may_be_unavailable_is_rounded_down() -> None:
    assert read(updateStrategy={"maxUnavailable": "15%"}).max_unavailable == 2
    assert read(updateStrategy={"maxUnavailable": "15%", "maxSurge": 1}).max_unavailable == 1


def test_one_pod_at_least_may_change_however_few_there_are() -> None:
    assert read(replicas=0).max_unavailable == 1
    assert read(updateStrategy={"maxUnavailable": 0, "maxSurge": "0%"}).max_unavailable == 1
    assert read(updateStrategy={"maxUnavailable": 0, "maxSurge": 1}).max_unavailable == 0


@pytest.mark.parametrize("value", [0, "0%"])
def test_one_pod_at_least_may_be_made(value: int | str) -> None:
    assert read(scaleStrategy={"maxUnavailable": value}).scale_unavailable == 1


def test_pods_held_for_deletion_are_left_out_by_field_or_by_label() -> None:
    obj = clone_set()
    labelled = msgspec.structs.replace(
        obj,
        metadata=msgspec.structs.replace(obj.metadata, labels={names.EXCLUDE_PREPARING_DELETE_LABEL: "true"}),
    )

    assert not settings_of(obj).exclude_preparing_delete
    assert settings_of(labelled).exclude_preparing_delete
    assert read(scaleStrategy={"excludePreparingDelete": True}).exclude_preparing_delete


@pytest.mark.parametrize("enabled", [False, True])
def test_what_openkruises_newer_version_says_of_claims_holds(enabled: bool) -> None:
    said = read(scaleStrategy={"disablePVCReuse": True, "enablePVCReuse": enabled})

    assert said.reuse_claims is enabled


def test_claims_are_used_again_unless_it_is_forbidden() -> None:
    assert read().reuse_claims
    assert not read(scaleStrategy={"disablePVCReuse": True}).reuse_claims


@pytest.mark.parametrize(("stored", "meant"), [(3, 3), ("25%", "25%"), ("3", 3), ("some", None)])
def test_the_pace_of_preparation_is_read_as_openkruises_conversion_stores_it(
    stored: int | str, meant: int | str | None
) -> None:
    """It copies the older version's annotation into the field whatever stands there."""
    rolling = {"inPlaceUpdateStrategy": {"imagePreDownloadParallelism": stored}}
    obj = written(updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})

    assert download_of(obj).parallelism == meant


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_what_becomes_of_a_resize_that_does_not_come_about_is_read_in_both_versions(version: str) -> None:
    asked = {"onInfeasible": "Recreate", "onDeferred": "Rollback", "resizeDeadlineSeconds": 60}
    parts: dict[str, Any] = {"inPlaceUpdateStrategy": asked}

    settings = read(updateStrategy=parts if version == "v1alpha1" else {"rollingUpdate": parts})

    assert (settings.on_infeasible, settings.on_deferred) == ("Recreate", "Rollback")
    assert settings.resize_deadline == 60


def test_a_resize_waits_when_nothing_is_said() -> None:
    settings = read()

    assert (settings.on_infeasible, settings.on_deferred, settings.resize_deadline) == ("Wait", "Wait", 300)
