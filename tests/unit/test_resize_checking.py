"""What is refused of a resize before anybody is asked: the field, and the rule."""

import json
from typing import Any

import pytest

from daemon.objects.resizes import WishError, wish_of
from daemon.resizes.checking import first_problem, qos_of
from tests.unit.resize_pods import pod, res, wish

GUARANTEED = {"app": res("100m 64Mi", "100m 64Mi"), "qos": "Guaranteed"}


def problem_of(asked: Any, **fields: Any) -> str:
    found = first_problem(pod(**fields), wish_of(json.dumps(asked)))
    return str(found) if found is not None else ""


@pytest.mark.parametrize(
    ("asked", "fields", "told"),
    [
        ({"containers": {"db": res("1")}}, {}, "containers.db is no container of the pod; allowed: app"),
        (
            {"containers": {"load": res("1")}},
            {"inits": {"load": {}}},
            "containers.load is an init container that ends",
        ),
        (
            wish("1 -", "500m"),
            {},
            'containers.app.requests.cpu "1" is above the limit; allowed: at most 500m',
        ),
        (wish("-1"), {}, 'containers.app.requests.cpu "-1" is negative'),
        (wish("lots"), {}, 'containers.app.requests.cpu "lots" is no quantity'),
        (
            {"containers": {"app": {"limits": {"cpu": None}}}},
            {},
            "containers.app.limits.cpu null cannot be removed from a running pod",
        ),
        (
            {"containers": {"app": {"requests": {"nvidia.com/gpu": "2"}}}},
            {},
            'containers.app.requests[nvidia.com/gpu] "2" cannot be changed in a running pod',
        ),
        (wish("50m"), GUARANTEED, "status.qosClass Guaranteed to Burstable cannot change by a resize"),
        (wish("200m 128Mi"), {}, "status.qosClass Burstable to Guaranteed cannot change by a resize"),
        (wish("1m"), {"app": {}, "qos": "BestEffort"}, "status.qosClass BestEffort to Burstable"),
        (
            wish("1m"),
            {"annotations": {"kubernetes.io/config.mirror": "x"}},
            "a static pod is changed in its file",
        ),
        (
            wish("1m"),
            {"spec": {"os": {"name": "windows"}}},
            "spec.os.name windows cannot be resized in place",
        ),
        (
            wish("-", "2"),
            {"spec": {"resources": res("100m", "1")}},
            "containers.app.limits.cpu is above the limit of the pod",
        ),
        (
            wish("150m"),
            {"spec": {"resources": res("120m")}},
            "pod.requests.cpu is below what the containers request",
        ),
    ],
)
def test_is_refused(asked: Any, fields: Any, told: str) -> None:
    assert told in problem_of(asked, **fields)


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (wish("150m"), {}),
        (wish("0.1 64Mi"), {}),
        (wish("300m", "300m"), GUARANTEED),
        ({"containers": {"app": {"requests": {"cpu": 0.15}}}}, {}),
        ({"containers": {"app": {"limits": {"ephemeral-storage": None}}}}, {}),
        ({"containers": {"mesh": res("20m")}}, {"sidecars": {"mesh": res("10m")}}),
        (wish("-", "- 256Mi"), {"app": res("100m 64Mi", "200m")}),
    ],
)
def test_is_not_refused(asked: Any, fields: Any) -> None:
    assert problem_of(asked, **fields) == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Input data was truncated"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "names no container; allowed: containers.<name>.requests and .limits"),
        ('{"containers":{"app":{}},"onDeferred":"Never"}', "allowed: Wait or Rollback"),
        ('{"containers":{"app":{}},"deadlineSeconds":-1}', "deadlineSeconds -1 is negative"),
        (
            '{"containers":{"app":{}},"deadlineSeconds":"5"}',
            "Expected `int`, got `str` - at `$.deadlineSeconds`",
        ),
        ('{"container":{"app":{}}}', "unknown field `container`"),
        ('{"containers":{"app":{"requests":{"cpu":true}}}}', "at `$.containers[...].requests[...]`"),
        ('{"containers":' + "[" * 100_000, "annotation inplaced.dev/resources"),
        ('{"containers":' + '{"a":' * 100_000, "annotation inplaced.dev/resources"),
    ],
)
def test_an_annotation_that_is_no_wish_is_refused_with_the_place(text: str, told: str) -> None:
    with pytest.raises(WishError) as caught:
        wish_of(text)

    assert "annotation inplaced.dev/resources" in str(caught.value)
    assert told in str(caught.value)


def test_the_qos_class_is_counted_over_all_containers() -> None:
    both = res("1 1Gi", "1 1Gi")

    assert qos_of(pod(app=both, more={"log": both}), {}) == "Guaranteed"
    assert qos_of(pod(app=both, more={"log": {}}), {}) == "Burstable"
    assert qos_of(pod(app={}), {}) == "BestEffort"
    assert qos_of(pod(app={}, spec={"resources": both}), {}) == "Guaranteed"
