"""What the agent keeps of the pods of its node."""

import msgspec
import pytest

from daemon import names
from daemon.kube.decoding import decoded
from daemon.kube.packing import Packed
from daemon.kube.resources import LOCAL_PODS
from daemon.objects.local_pods import LocalPod

WHOLE = {
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "7",
        "labels": {"app": "web"},
        "annotations": {names.PLANNED_RESTARTS_ANNOTATION: '{"app":1}', "example.com/more": "of it"},
        "managedFields": [{"manager": "kubelet"}],
    },
    "spec": {
        "nodeName": "n1",
        "priority": 5,
        "containers": [
            {
                "name": "app",
                "image": "repo/app:v1",
                "env": [
                    {
                        "name": "COLOUR",
                        "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['colour']"}},
                    }
                ],
                "resources": {"requests": {"cpu": "100m"}},
                "lifecycle": {"preStop": {"httpGet": {"port": "admin", "path": "/drain"}}},
            }
        ],
    },
    "status": {
        "phase": "Running",
        "qosClass": "Burstable",
        "podIP": "10.0.0.7",
        "containerStatuses": [{"name": "app", "containerID": "containerd://c1", "restartCount": 2}],
    },
}


def asking(*, annotation: str = "", gate: str = "") -> bytes:
    document = msgspec.json.decode(msgspec.json.encode(WHOLE))
    if annotation:
        document["metadata"]["annotations"][annotation] = "{}"
    if gate:
        document["spec"]["readinessGates"] = [{"conditionType": gate}]
    return msgspec.json.encode(document)


@pytest.mark.parametrize(
    "raw",
    [
        asking(annotation=names.RESTART_ANNOTATION),
        asking(annotation=names.RESOURCES_ANNOTATION),
        asking(annotation=names.NEXT_REVISION_ANNOTATION),
        asking(gate=names.IN_PLACE_UPDATE_READY),
        asking(gate=names.KRUISE_POD_READY),
    ],
    ids=["restart", "resources", "next revision", "gate of updates", "gate of traffic"],
)
def test_a_pod_that_asks_for_something_is_kept_with_all_that_is_acted_on(raw: bytes) -> None:
    pod = decoded(LOCAL_PODS, raw)

    container, status = pod.spec.containers[0], pod.status.container_statuses[0]
    source = container.env[0].value_from
    assert source is not None
    assert source.field_ref is not None
    assert source.field_ref.field_path == "metadata.annotations['colour']"
    assert container.lifecycle.pre_stop is not None
    assert container.lifecycle.pre_stop.http_get is not None
    assert container.lifecycle.pre_stop.http_get.port == "admin"
    assert pod.metadata.labels == {"app": "web"}
    assert (status.container_id, status.restart_count) == ("containerd://c1", 2)
    assert pod.status.pod_ip == "10.0.0.7"


def test_of_any_other_pod_only_identity_room_and_life_are_kept() -> None:
    pod = decoded(LOCAL_PODS, asking())

    container = pod.spec.containers[0]
    assert (pod.metadata.uid, pod.metadata.resource_version) == ("u1", "7")
    assert (pod.spec.priority, pod.status.phase, pod.status.qos_class) == (5, "Running", "Burstable")
    assert container.resources.requests == {"cpu": "100m"}
    assert (container.image, container.env, container.lifecycle.pre_stop) == ("", (), None)
    assert pod.metadata.labels == {}
    assert pod.metadata.annotations == {names.PLANNED_RESTARTS_ANNOTATION: '{"app":1}'}
    (status,) = pod.status.container_statuses
    assert (status.name, status.container_id, status.restart_count) == ("app", "containerd://c1", 2)
    assert (status.image, status.image_id, status.resources) == ("", "", None)


def test_a_pod_comes_out_of_its_packing_as_it_went_in() -> None:
    pod = decoded(LOCAL_PODS, asking(annotation=names.RESTART_ANNOTATION))
    packed = Packed(LocalPod)

    packed[pod.metadata.key] = pod

    assert packed[pod.metadata.key] == pod
