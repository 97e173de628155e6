"""The series: their names, types and labels, and that they are there from the start."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.cri.errors import CriError
from daemon.metrics import PULL_REASONS, Metrics

UNITS = re.compile(r"_(seconds|bytes)$")
COUNTED_THINGS = {
    "inplaced_reconciles",
    "inplaced_pulls",
    "inplaced_pull_retries",
    "inplaced_pulls_waiting",
    "inplaced_pulls_running",
    "inplaced_images_pinned",
    "inplaced_leading",
    "inplaced_runtime_ready",
    "inplaced_refused_documents",
    "inplaced_api_requests",
    "inplaced_watch_restarts",
    "inplaced_container_unplanned_restarts",
    "inplaced_recreate_requests",
    "inplaced_pod_update_writes",
    "inplaced_pod_updates",
    "inplaced_events_dropped",
    "inplaced_resizes",
    "inplaced_resizes_deferred",
}
"""Numbers of things, and yes or no: they have no unit."""


def read(metrics: Metrics) -> dict[str, str]:
    """The types of all series by name."""
    text = metrics.exposition().decode()
    return {
        family.name: family.type
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


def test_every_series_has_our_prefix_a_help_and_a_unit() -> None:
    metrics = Metrics()

    for family in text_string_to_metric_families(metrics.exposition().decode()):
        if family.name.endswith("_created"):
            continue
        assert family.name.startswith("inplaced_")
        assert family.documentation.endswith(".")
        assert UNITS.search(family.name) or family.name in COUNTED_THINGS


def test_what_only_grows_is_a_counter_and_what_is_now_a_gauge() -> None:
    types = read(Metrics())

    assert {name for name, type_ in types.items() if type_ == "counter"} == {
        "inplaced_reconciles",
        "inplaced_recreate_requests",
        "inplaced_pulls",
        "inplaced_pull_retries",
        "inplaced_resizes",
        "inplaced_pull_fetched_bytes",
        "inplaced_pull_reused_bytes",
        "inplaced_api_requests",
        "inplaced_api_transferred_bytes",
        "inplaced_watch_restarts",
        "inplaced_events_dropped",
        "inplaced_pod_update_writes",
        "inplaced_pod_updates",
    }
    assert {name for name, type_ in types.items() if type_ == "histogram"} == {
        "inplaced_reconcile_seconds",
        "inplaced_resize_duration_seconds",
        "inplaced_pod_update_step_duration_seconds",
        "inplaced_pull_duration_seconds",
        "inplaced_pull_queue_wait_seconds",
        "inplaced_cri_call_duration_seconds",
        "inplaced_api_request_duration_seconds",
        "inplaced_pod_update_duration_seconds",
    }
    assert set(types.values()) == {"counter", "gauge", "histogram"}


def test_pulls_are_there_at_zero_for_every_result_and_reason() -> None:
    metrics = Metrics()

    found = {
        (sample.labels["result"], sample.labels["reason"]): sample.value
        for metric in metrics.pulls.collect()
        for sample in metric.samples
        if sample.name == "inplaced_pulls_total"
    }

    wanted = [("pulled", ""), ("present", ""), ("cancelled", "")]
    assert found == dict.fromkeys([*wanted, *(("failed", reason) for reason in PULL_REASONS)], 0.0)


def test_no_error_of_a_runtime_adds_a_reason_to_the_set() -> None:
    reasons = {kind.reason for kind in errors_of(CriError)}

    assert reasons - {"AlreadyExists"} <= set(PULL_REASONS)


def errors_of(kind: type[CriError]) -> Iterator[type[CriError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from errors_of(child)


def test_two_processes_in_one_test_share_nothing() -> None:
    one, other = Metrics(), Metrics()

    one.pull_retries.inc()

    assert one.registry.get_sample_value("inplaced_pull_retries_total") == 1
    assert other.registry.get_sample_value("inplaced_pull_retries_total") == 0


@pytest.mark.parametrize("seconds", [0.0004, 0.004, 299.0, 4000.0])
def test_a_call_is_observed_by_method_and_code(seconds: float) -> None:
    metrics = Metrics()

    metrics.observe_call("PullImage", "NOT_FOUND", seconds)

    labels = {"method": "PullImage", "code": "NOT_FOUND"}
    name = "inplaced_cri_call_duration_seconds"
    assert metrics.registry.get_sample_value(f"{name}_count", labels) == 1
    assert metrics.registry.get_sample_value(f"{name}_sum", labels) == pytest.approx(seconds)
