"""Alerts and dashboard speak of series that there are, and tell what to do."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from daemon import names
from daemon.metrics import Metrics
from tests.charts.rendering import EVERYTHING, of_kind, render, the

NAME = re.compile(r"\binplaced_[a-z0-9_]+")


def series() -> set[str]:
    """Every name under which the program exposes something."""
    return {name for family in Metrics().registry.collect() for name in _names(family.name, family.type)}


def _names(name: str, type_: str) -> Iterator[str]:
    match type_:
        case "counter":
            yield f"{name}_total"
        case "histogram":
            yield from (f"{name}_bucket", f"{name}_sum", f"{name}_count")
        case _:
            yield name


def labels_of() -> dict[str, set[str]]:
    """The labels of every series, by its name without what a histogram adds."""
    collectors = set(Metrics().registry._collector_to_names)
    return {collector._name: set(collector._labelnames) for collector in collectors}  # type: ignore[attr-defined]  # the client tells it nowhere else


RULES = [
    rule
    for document in of_kind("PrometheusRule", render(EVERYTHING))
    for group in document["spec"]["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads(the("ConfigMap", "inplaced-dashboard", render(EVERYTHING))["data"]["inplaced.json"])
QUERIES = [
    *((f"alert {rule['alert']}", rule["expr"]) for rule in RULES),
    *(
        (f"panel {panel['title']}", target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ),
]
each_query = pytest.mark.parametrize(
    "query", [expr for _, expr in QUERIES], ids=[name for name, _ in QUERIES]
)
each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])


@each_query
def test_a_query_names_series_that_there_are(query: str) -> None:
    named = set(NAME.findall(query))

    assert named - series() == set()
    assert named or 'up{job="inplaced-' in query


@each_query
def test_a_query_s_brackets_are_closed(query: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing)


@each_query
def test_a_query_names_labels_that_there_are(query: str) -> None:
    scraped = {"job", "node", "namespace", "pod", "container", "le"}
    ours = set().union(*labels_of().values())
    # The scraped pod's own labels win, and ours of the same name are kept under another one.
    known = scraped | ours | {f"exported_{name}" for name in ours & scraped}

    named = {name for group in re.findall(r"by \(([^)]*)\)", query) for name in group.split(", ")}
    matched = set(re.findall(r"[{,]([a-z]+)=", query))

    assert (named | matched) - known == set()


@each_rule
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["summary"].endswith(".")
    assert len(rule["annotations"]["runbook"]) > 80
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["for"]


@each_rule
def test_an_alert_names_only_labels_that_it_has(rule: dict[str, Any]) -> None:
    used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    kept = re.search(r"by \(([^)]*)\)", rule["expr"])
    there = set(kept[1].split(", ")) if kept else {"job", "node", "namespace", "pod", "runtime"}

    assert used - there == set()


def test_the_alert_of_a_missing_leader_names_the_lease_that_is_stood_for() -> None:
    (alert,) = [rule for rule in RULES if rule["alert"] == "InplacedNobodyLeads"]

    assert f"the Lease {names.ELECTION_LEASE} " in alert["annotations"]["runbook"]


def test_a_controller_that_is_left_out_is_not_missed() -> None:
    without = {**EVERYTHING, "controller": {"enabled": False}}

    (rules,) = of_kind("PrometheusRule", render(without))
    there = {rule["alert"] for group in rules["spec"]["groups"] for rule in group["rules"]}

    assert {rule["alert"] for rule in RULES} - there == {"InplacedControllerDown"}


def test_every_series_is_on_the_dashboard_or_in_an_alert() -> None:
    shown = " ".join(query for _, query in QUERIES)

    left_out = {name for name in labels_of() if name not in shown}

    # Of files in a directory, which a cluster's agent has none of; sums and sizes for looking closer.
    assert left_out <= {
        "inplaced_refused_documents",
        "inplaced_image_filesystem_free_bytes",
        "inplaced_api_request_duration_seconds",
        "inplaced_api_transferred_bytes",
        "inplaced_events_dropped",
    }


def test_panels_do_not_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}

        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(x for x, _ in taken) < 24


def test_every_panel_is_explained() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"] if not panel["description"]] == []


def test_prometheus_finds_both_parts_by_their_services() -> None:
    documents = render(EVERYTHING)
    services = of_kind("Service", documents)
    monitors = {each["metadata"]["name"]: each["spec"] for each in of_kind("ServiceMonitor", documents)}

    assert (
        {each["metadata"]["name"] for each in services}
        == set(monitors)
        == {"inplaced-agent", "inplaced-controller"}
    )
    for service in services:
        wanted = monitors[service["metadata"]["name"]]["selector"]["matchLabels"].items()
        assert wanted <= service["metadata"]["labels"].items()
        assert service["spec"]["clusterIP"] == "None"


def test_scraped_jobs_are_named_as_the_alerts_name_them() -> None:
    monitors = of_kind("ServiceMonitor", render(EVERYTHING))

    jobs = {each["spec"]["endpoints"][0]["relabelings"][0]["replacement"] for each in monitors}

    assert jobs == {"inplaced-agent", "inplaced-controller"}
    assert {match for _, query in QUERIES for match in re.findall(r'job="([^"]+)"', query)} <= jobs


def test_nothing_is_monitored_unless_asked() -> None:
    kinds = {each["kind"] for each in render()}

    assert not kinds & {"ServiceMonitor", "PrometheusRule", "Service"}
