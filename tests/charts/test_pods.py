"""What the release's pods may do on their nodes, and how they are kept."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.charts.rendering import EVERYTHING, Document, of_kind, render, the

KINDS = {"DaemonSet": "inplaced-agent", "Deployment": "inplaced-controller", "Pod": "inplaced-trial"}


def spec(kind: str, values: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The pod's, of whatever makes it."""
    found: Document = the(kind, KINDS[kind], render(values))
    return found["spec"] if kind == "Pod" else found["spec"]["template"]["spec"]  # type: ignore[no-any-return]  # a document


def agent(path: str, value: object) -> Mapping[str, Any]:
    """The agent's pod under one value."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return spec("DaemonSet", {"agent": value})


each_pod = pytest.mark.parametrize("kind", KINDS)
each_server = pytest.mark.parametrize("kind", ["DaemonSet", "Deployment"])


@each_pod
def test_a_pod_is_confined(kind: str) -> None:
    pod = spec(kind)
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostPID", "hostIPC"} & pod.keys()
    assert not pod.get("hostNetwork")


@each_pod
def test_a_pod_s_memory_is_bounded(kind: str) -> None:
    (container,) = spec(kind)["containers"]

    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


@each_pod
def test_a_pod_has_the_token_of_an_account_of_its_own(kind: str) -> None:
    account = the("ServiceAccount", KINDS[kind])

    assert spec(kind)["serviceAccountName"] == KINDS[kind]
    assert spec(kind)["automountServiceAccountToken"] is True
    assert account["automountServiceAccountToken"] is False


@each_pod
def test_services_are_no_settings(kind: str) -> None:
    assert spec(kind)["enableServiceLinks"] is False


@each_server
def test_a_pod_is_probed_where_it_listens(kind: str) -> None:
    (container,) = spec(kind)["containers"]

    paths = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert paths == {
        "startup": {"path": "/livez", "port": "metrics"},
        "liveness": {"path": "/livez", "port": "metrics"},
        "readiness": {"path": "/readyz", "port": "metrics"},
    }
    assert container["ports"] == [{"name": "metrics", "containerPort": 10231, "protocol": "TCP"}]


def test_a_loopback_address_is_probed_there() -> None:
    (container,) = agent("listen", "127.0.0.1:9999")["containers"]

    assert container["livenessProbe"]["httpGet"]["host"] == "127.0.0.1"
    assert container["ports"][0]["containerPort"] == 9999


def test_every_node_gets_an_agent() -> None:
    assert spec("DaemonSet")["tolerations"] == [{"operator": "Exists"}]
    assert not {"nodeSelector", "affinity"} & spec("DaemonSet").keys()


def test_agents_are_replaced_a_few_at_a_time() -> None:
    daemonset = the("DaemonSet", "inplaced-agent")["spec"]

    assert daemonset["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "10%"},
    }


def test_the_system_s_pods_go_first() -> None:
    assert spec("DaemonSet")["priorityClassName"] == "system-node-critical"
    assert spec("Deployment")["priorityClassName"] == "system-cluster-critical"


def test_a_pod_has_longer_to_end_than_it_takes() -> None:
    assert spec("DaemonSet")["terminationGracePeriodSeconds"] > 10  # the setting shutdown-grace


def test_the_host_is_seen_and_not_written() -> None:
    pod = spec("DaemonSet", EVERYTHING)
    hosts = {each["name"]: each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    mounts = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] in hosts]

    assert {each["name"] for each in mounts} == set(hosts)
    assert all(each["readOnly"] for each in mounts)
    assert all(each["mountPath"] == f"/host{hosts[each['name']]}" for each in mounts)


def test_no_more_of_the_host_is_seen_than_needed() -> None:
    hosts = [each["hostPath"]["path"] for each in spec("DaemonSet")["volumes"] if "hostPath" in each]

    assert hosts == [
        "/run",
        "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs",
        "/etc/containerd/certs.d",
    ]


def test_sockets_are_seen_by_their_directories() -> None:
    mounts = {
        each["mountPath"]: each
        for each in agent("runtime.directories", ["/run/crio"])["containers"][0]["volumeMounts"]
    }
    assert mounts["/host/run/crio"]["mountPropagation"] == "HostToContainer"
    assert "/host/run" not in mounts


def test_mounts_of_the_host_may_be_private() -> None:
    pod = agent("runtime.mountPropagation", "")

    assert [each for each in pod["containers"][0]["volumeMounts"] if "mountPropagation" in each] == []


def test_files_with_credentials_come_alone() -> None:
    volumes = {each["hostPath"]["path"]: each["hostPath"].get("type")
               for each in spec("DaemonSet", EVERYTHING)["volumes"] if "hostPath" in each}  # fmt: skip

    assert volumes["/var/lib/kubelet/config.json"] == "File"
    assert volumes["/etc/plugins/config.yaml"] == "File"
    assert not {"/var/lib/kubelet", "/etc/plugins"} & volumes.keys()


def test_the_controller_and_the_trial_see_nothing_of_the_host() -> None:
    for kind in ("Deployment", "Pod"):
        assert [each for each in spec(kind).get("volumes", ()) if "hostPath" in each] == []


def test_what_is_kept_beside_is_kept_in_memory() -> None:
    kept = [each["emptyDir"] for each in spec("DaemonSet")["volumes"] if "emptyDir" in each]

    assert kept == [{"medium": "Memory", "sizeLimit": "1Mi"}] * 2


def test_root_is_there_for_sockets_that_want_it() -> None:
    assert agent("runAsUser", 0)["securityContext"]["runAsNonRoot"] is False


def test_selinux_can_be_told_of_it() -> None:
    assert agent("seLinuxOptions", {"type": "spc_t"})["securityContext"]["seLinuxOptions"] == {
        "type": "spc_t"
    }


def test_names_are_resolved_on_the_node_s_network_too() -> None:
    assert spec("DaemonSet")["dnsPolicy"] == "ClusterFirst"
    assert agent("hostNetwork", True)["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert agent("dnsPolicy", "Default")["dnsPolicy"] == "Default"


def test_two_controllers_stand_apart() -> None:
    deployment = the("Deployment", "inplaced-controller")["spec"]
    spread = {each["topologyKey"]: each for each in spec("Deployment")["topologySpreadConstraints"]}

    assert deployment["replicas"] == 2
    assert set(spread) == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for each in spread.values():
        assert each["whenUnsatisfiable"] == "ScheduleAnyway"
        assert each["labelSelector"] == deployment["selector"]


def test_one_controller_may_be_evicted_at_a_time() -> None:
    (budget,) = of_kind("PodDisruptionBudget")

    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == the("Deployment", "inplaced-controller")["spec"]["selector"]


def test_nothing_but_metrics_and_probes_comes_in() -> None:
    policies = {each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: each["spec"]
                for each in of_kind("NetworkPolicy")}  # fmt: skip

    assert set(policies) == {"agent", "controller"}
    for each in policies.values():
        assert each["policyTypes"] == ["Ingress"]
        (rule,) = each["ingress"]
        assert rule == {"ports": [{"port": 10231, "protocol": "TCP"}], "from": [{"namespaceSelector": {}}]}


def test_the_controller_can_be_left_to_openkruise() -> None:
    documents = render({"controller": {"enabled": False}})

    assert [each for each in documents if "controller" in each["metadata"]["name"]] == []
    assert of_kind("DaemonSet", documents)


def test_every_name_fits_however_the_release_is_called() -> None:
    documents = render(EVERYTHING, release="r" * 53)

    named = [each for each in documents if each["kind"] in {"Service", "DaemonSet", "Deployment"}]
    assert max(len(each["metadata"]["name"]) for each in named) <= 63
