"""The chart's values: all explained, none unknown, and what they set is what the program reads."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemon import __version__
from daemon.config import AgentConfig, ControllerConfig
from daemon.settings import ENV_PREFIX, load, settings_of
from tests.charts import documents
from tests.charts.rendering import CHART, EVERYTHING, Document, helm, render, rendered_text, the
from tests.testbed.session import TestbedError

VALUES = yaml.safe_load(documents.VALUES.read_text())
SCHEMA = json.loads(documents.SCHEMA.read_text())
PARTS = {
    "agent": ("DaemonSet", "inplaced-agent", AgentConfig),
    "controller": ("Deployment", "inplaced-controller", ControllerConfig),
}


def nested(path: str, value: object) -> dict[str, Any]:
    """A value by its path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def objects(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every part of *schema* that has named members, by its path."""
    if "properties" in schema:
        yield path, schema
        for name, part in schema["properties"].items():
            yield from objects(part, f"{path}.{name}".lstrip("."))


either = pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it is", "everything"])

FIELDS = {"spec.nodeName": "node-a", "metadata.namespace": "inplaced", "metadata.name": "pod-a"}
"""What the kubelet fills in."""


def environment(part: str, values: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What the container of *part* finds there."""
    kind, name, _ = PARTS[part]
    container = containers(the(kind, name, render(values)))[0]
    return {
        each["name"]: each["value"] if "value" in each else FIELDS[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in container["env"]
    }


def containers(document: Document) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize(
    ("values", "looked_after"),
    [
        ({}, "true"),
        ({"crds": {"install": False}}, "false"),
        ({"crds": {"install": False}, "controller": {"workloads": {"enabled": True}}}, "true"),
        ({"controller": {"workloads": {"enabled": False}}}, "false"),
    ],
    ids=["by itself", "beside OpenKruise", "wanted", "unwanted"],
)
def test_clone_sets_are_looked_after_where_the_kinds_are_ours(
    values: Mapping[str, Any], looked_after: str
) -> None:
    assert environment("controller", values)["INPLACED_CLONE_SETS"] == looked_after


def test_every_value_is_explained() -> None:
    values = list(documents.values_of(documents.VALUES.read_text()))

    assert [value.path for value in values if not value.comment.endswith(".")] == []


def test_the_readme_has_all_values_as_they_are() -> None:
    assert documents.README.read_text() == documents.readme()


def test_the_schema_has_all_settings_as_they_are() -> None:
    assert documents.SCHEMA.read_text() == documents.schema()


def test_the_schema_knows_every_value_and_no_other() -> None:
    for path, part in objects(SCHEMA):
        here = VALUES
        for key in path.split(".") if path else ():
            here = here[key]
        if isinstance(here, dict) and here:
            assert set(part["properties"]) - {"global"} == set(here), path


def test_the_schema_lets_no_unknown_value_in() -> None:
    open_ones = [path for path, part in objects(SCHEMA) if part.get("additionalProperties") is not False]

    assert open_ones == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("agentt", {}),
        ("agent.unknown", 1),
        ("agent.runtime.socket", "/run/x.sock"),
        ("agent.settings.pull-worker", 4),
        ("agent.settings.pull-workers", 65),
        ("agent.settings.pull-workers", "4"),
        ("agent.settings.log-level", "loud"),
        ("agent.settings.node-name", "mine"),
        ("agent.listen", "10231"),
        ("agent.runAsUser", -1),
        ("agent.runtime.directories", ["run"]),
        ("agent.runtime.directories", ["/"]),
        ("agent.maxUnavailable", 0),
        ("agent.resources.limit", {}),
        ("controller.replicas", -1),
        ("controller.settings.pull-workers", 2),
        ("image.digest", "latest"),
        ("image.pullPolicy", "Sometimes"),
        ("monitoring.serviceMonitor.interval", "often"),
    ],
)
def test_helm_refuses_what_is_no_value(path: str, value: object) -> None:
    with pytest.raises(TestbedError, match="values don't meet the specifications"):
        rendered_text(nested(path, value))


def test_a_long_namespace_is_refused_with_the_reason() -> None:
    with pytest.raises(TestbedError, match="has 51 characters, 50 are allowed"):
        rendered_text({}, namespace="n" * 51)


def test_plugins_without_their_configuration_are_refused() -> None:
    with pytest.raises(TestbedError, match=r"agent\.credentialProvider\.config goes with binDirectory"):
        rendered_text(nested("agent.credentialProvider.binDirectory", "/opt/plugins"))


@pytest.mark.parametrize("part", PARTS)
@either
def test_every_variable_is_a_setting(part: str, values: Mapping[str, Any]) -> None:
    known = {setting.variable for setting in settings_of(PARTS[part][2])}

    given = {name for name in environment(part, values) if name.startswith(ENV_PREFIX)}

    assert given - known == set()
    assert given


@either
def test_the_agent_reads_what_its_pod_is_given(values: Mapping[str, Any]) -> None:
    config = load(AgentConfig, "agent", [], environment("agent", values))

    assert (config.node_name, config.namespace) == ("node-a", "inplaced")
    assert (config.listen, config.host_root) == ("0.0.0.0:10231", Path("/host"))


@either
def test_the_controller_reads_what_its_pod_is_given(values: Mapping[str, Any]) -> None:
    config = load(ControllerConfig, "controller", [], environment("controller", values))

    assert (config.identity, config.namespace) == ("pod-a", "inplaced")
    assert config.listen == "0.0.0.0:10231"


def test_the_agent_gets_every_kind_of_setting() -> None:
    config = load(AgentConfig, "agent", [], environment("agent", EVERYTHING))

    assert config.pull_workers == 4
    assert config.disk_floor_mib == 2_000_000
    assert config.pull_backoff == 0.5
    assert config.measure_images is False
    assert config.allowed_uids == (1, 2)
    assert config.runtime == ("/host/run/containerd/containerd.sock", "/host/run/crio/crio.sock")


@pytest.mark.parametrize("part", PARTS)
def test_the_pod_runs_its_sub_command_and_nothing_by_flags(part: str) -> None:
    kind, name, _ = PARTS[part]

    (container,) = containers(the(kind, name))

    assert container["args"] == [part]
    assert "command" not in container


def test_the_chart_is_of_this_version() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert about["appVersion"] == __version__


def test_the_image_is_the_chart_s_own_version_unless_a_value_says_otherwise() -> None:
    digest = "sha256:" + "a" * 64
    wanted = {
        "inplaced:" + __version__: {},
        "a.b/c:2": {"repository": "a.b/c", "tag": "2"},
        f"a.b/c@{digest}": {"repository": "a.b/c", "tag": "2", "digest": digest},
    }

    given = [
        containers(the("DaemonSet", "inplaced-agent", render({"image": each})))[0]["image"]
        for each in wanted.values()
    ]

    assert given == list(wanted)


@either
def test_helm_finds_nothing_to_complain_of(values: Mapping[str, Any]) -> None:
    said = helm(
        "lint", "--strict", str(CHART), "--kube-version", "1.37.0", "--values", "-", stdin=json.dumps(values)
    )

    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said
