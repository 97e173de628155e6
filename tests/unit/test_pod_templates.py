"""Pod templates: written byte by byte as Go writes them, and compared by what they say."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daemon.kube.encoding import encoded
from daemon.objects.pod_templates import as_go_writes, settled, telling

RECORDED = yaml.safe_load(Path(__file__).with_name("go_templates.yaml").read_text())
BARE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [
            {
                "name": "app",
                "image": "reg.test/app:v1",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}],
                "readinessProbe": {"httpGet": {"port": 80}},
                "volumeMounts": [{"name": "conf", "mountPath": "/conf"}],
            }
        ],
        "volumes": [{"name": "conf", "configMap": {"name": "conf"}}, {"name": "tmp"}],
    },
}
# The same once a webhook that fills in defaults has been at it.
FILLED: dict[str, Any] = {
    "metadata": {"creationTimestamp": None, "labels": {"app": "web"}},
    "spec": {
        "containers": [
            {
                "name": "app",
                "image": "reg.test/app:v1",
                "imagePullPolicy": "Always",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "env": [
                    {
                        "name": "A",
                        "valueFrom": {
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['app']"}
                        },
                    }
                ],
                "readinessProbe": {
                    "failureThreshold": 3,
                    "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "timeoutSeconds": 1,
                },
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "volumeMounts": [{"name": "conf", "mountPath": "/conf"}],
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "volumes": [
            {"name": "conf", "configMap": {"name": "conf", "defaultMode": 420}},
            {"name": "tmp", "emptyDir": {}},
        ],
    },
}


def changed(**app: Any) -> dict[str, Any]:
    """BARE with another container."""
    template = copy.deepcopy(BARE)
    template["spec"]["containers"][0] |= app
    return template


@pytest.mark.parametrize("case", RECORDED)
def test_a_template_is_written_as_go_writes_it(case: dict[str, Any]) -> None:
    written = encoded(as_go_writes(case["given"])).decode()

    for null in ('"creationTimestamp":null,', '{"creationTimestamp":null}'):
        written = written.replace(null, "{}" if null.startswith("{") else "")
    assert written == case["written"]


def test_defaults_make_no_difference_whoever_filled_them_in() -> None:
    one, other = settled(FILLED, BARE)

    assert one == other


@pytest.mark.parametrize(
    "other",
    [
        changed(imagePullPolicy="Never") | {"metadata": {"labels": {"app": "db"}}},
        changed(command=["sleep"]),
        changed(ports=[{"containerPort": 80, "protocol": "UDP"}]),
        changed(readinessProbe={"httpGet": {"port": 80, "path": "/ready"}}),
        changed(readinessProbe={"httpGet": {"port": 80}, "terminationGracePeriodSeconds": 0}),
        changed(securityContext={"allowPrivilegeEscalation": False}),
        changed(resources={"limits": {"cpu": "1"}}),
        {**BARE, "spec": {**BARE["spec"], "terminationGracePeriodSeconds": 0}},
        {**BARE, "spec": {**BARE["spec"], "enableServiceLinks": False}},
        {**BARE, "spec": {**BARE["spec"], "nodeSelector": {"pool": ""}}},
    ],
)
def test_what_says_something_is_a_difference(other: dict[str, Any]) -> None:
    one, two = settled(FILLED, other)

    assert one != two


def test_pull_policies_are_compared_where_both_say_one() -> None:
    never, absent = (settled(FILLED, changed(**each)) for each in ({"imagePullPolicy": "Never"}, {}))

    assert never[0] != never[1]
    assert absent[0] == absent[1]


def test_an_empty_selector_of_namespaces_is_told_from_none() -> None:
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}
    terms = (
        {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [each]}}
        for each in (term, {**term, "namespaceSelector": {}})
    )
    own, every = (telling({"spec": {"affinity": each}}) for each in terms)

    assert own != every


def test_a_port_of_the_host_is_the_container_s_own_by_default() -> None:
    said = {
        "hostNetwork": True,
        "containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 1}]}],
    }
    unsaid = {"hostNetwork": True, "containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}

    assert telling({"spec": said}) == telling({"spec": unsaid})
    assert telling({"spec": {**said, "hostNetwork": False}}) != telling({"spec": unsaid})


def test_the_old_name_of_the_account_is_its_name() -> None:
    one, other = ({"spec": {key: "robot"}} for key in ("serviceAccount", "serviceAccountName"))

    assert telling(one) == telling(other)


fields = st.sampled_from(
    ["metadata", "spec", "containers", "ports", "hostNetwork", "serviceAccount", "limits", "labels", "a"]
)
leaves = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.booleans())
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(fields, inner, max_size=3)),
    max_leaves=12,
)
anything = st.dictionaries(fields, values, max_size=4)


@given(anything)
def test_whatever_is_written_as_go_writes_it_stays_so(template: dict[str, Any]) -> None:
    once = as_go_writes(template)

    assert as_go_writes(once) == once


@given(anything)
def test_whatever_is_written_differs_in_nothing_from_itself(template: dict[str, Any]) -> None:
    one, other = settled(template, as_go_writes(template))

    assert one == other
