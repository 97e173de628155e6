"""What the controller keeps of pods that a job follows."""

import msgspec

from daemon.kube.decoding import decoded
from daemon.kube.resources import PODS
from daemon.objects.pods import Pod


def a_pod(name: str) -> Pod:
    return decoded(
        PODS,
        msgspec.json.encode(
            {
                "metadata": {
                    "name": name,
                    "namespace": "shop",
                    "uid": f"uid of {name}",
                    "labels": {"app": "web"},
                    "ownerReferences": [
                        {"kind": "ReplicaSet", "name": "web-7d9f", "uid": "r1", "controller": True}
                    ],
                },
                "spec": {"nodeName": "n1"},
                "status": {
                    "phase": "Running",
                    "conditions": [
                        {"type": "ContainersReady", "status": "True"},
                        {
                            "type": "Ready",
                            "status": "True",
                            "lastTransitionTime": "2026-01-01T00:00:00Z",
                        },
                    ],
                },
            }
        ),
    )


def test_only_what_orders_pods_is_kept() -> None:
    pod = a_pod("web-1")

    assert (pod.metadata.uid, pod.spec.node_name, pod.status.phase) == ("uid of web-1", "n1", "Running")
    assert [each.type for each in pod.status.conditions] == ["Ready"]
    assert pod.metadata.labels == {}


def test_pods_of_one_owner_share_what_is_said_of_it() -> None:
    one, other = a_pod("web-1"), a_pod("web-2")

    assert one.metadata.owner_references[0] is other.metadata.owner_references[0]
    assert one.metadata.namespace is other.metadata.namespace
