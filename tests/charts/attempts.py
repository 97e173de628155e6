"""Everything that somebody with an agent's token might try."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon import names

OWN: Final = "own-node"
OTHER: Final = "other-node"
NODE_IMAGES: Final = f"/apis/{names.KRUISE_API}/nodeimages"
JOBS: Final = f"/apis/{names.KRUISE_API}/namespaces/default/imagepulljobs"
LISTS: Final = f"/apis/{names.KRUISE_API}/namespaces/default/imagelistpulljobs"
REQUESTS: Final = f"/apis/{names.KRUISE_API}/namespaces/default/containerrecreaterequests"
EVENTS: Final = "/apis/events.k8s.io/v1/namespaces/default/events"
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
ADMINISTRATOR: Final = {
    "apiGroup": "rbac.authorization.k8s.io",
    "kind": "ClusterRole",
    "name": "cluster-admin",
}
CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
LABEL: Final = {"metadata": {"labels": {"tried": "yes"}}}
STATUS: Final = {"status": {"desired": 1}}
RECREATED: Final = {"status": {"phase": "Completed"}}
SPEC: Final[Mapping[str, Any]] = {"spec": {"images": {"nginx": {"tags": []}}}}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request. NAMESPACE in the path stands for the release's."""

    method: str
    path: str
    body: Any = None
    patch: str = "merge"
    """The kind of a PATCH: merge, json, strategic or apply."""


def lease(name: str) -> dict[str, Any]:
    """A Lease as agents write theirs."""
    return {"metadata": {"name": name}, "spec": {"holderIdentity": OWN, "leaseDurationSeconds": 50}}


def kruise(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """An object of one of our kinds."""
    return {"apiVersion": names.KRUISE_API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def event(name: str, instance: str) -> dict[str, Any]:
    """An event as agents write theirs."""
    return {
        "metadata": {"name": name},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": f"{names.PREFIX}agent",
        "reportingInstance": instance,
        "action": "Pull",
        "reason": "Pulled",
        "note": "tried",
        "type": "Normal",
        "regarding": {"kind": "NodeImage", "name": instance, "apiVersion": names.KRUISE_API},
    }


LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/NAMESPACE/leases"
NODE_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
SECRETS: Final = "/api/v1/namespaces/NAMESPACE-node-secrets/secrets"
PODS: Final = "/api/v1/namespaces/NAMESPACE/pods"
SERIES: Final = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}
POD_STATUS: Final = {
    "metadata": {"annotations": {"inplaced.dev/tried": "yes"}},
    "status": {"conditions": [{"type": "inplaced.dev/Tried", "status": "True"}]},
}
CLAIM: Final = "device"
"""Of every pod."""


def running(name: str) -> dict[str, Any]:
    """The status of a container that the kubelet never started."""
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {
        "name": name,
        "ready": True,
        "restartCount": 0,
        "image": "a",
        "imageID": "a",
        "containerID": "containerd://a",
        "state": state,
    }


RESIZE: Final[Mapping[str, Any]] = {
    "spec": {"containers": [{"name": "holder", "resources": {"requests": {"cpu": "2m"}}}]}
}
BEYOND: Final[Mapping[str, Any]] = {
    "metadata": {"labels": {"tried": "yes"}, "annotations": {"tried": "yes"}, "finalizers": ["a/b"]},
    "spec": {
        "priority": 9,
        "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
        "containers": [
            {
                "name": "holder",
                "image": "registry.test/stolen:1",
                "command": ["sh"],
                "resources": {"requests": {"cpu": "3m"}},
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}],
            }
        ],
    },
}
"""A resize, and all that might be slipped in with it."""
GRANTED: Final[Mapping[str, Attempt]] = {
    "read its node": Attempt("GET", f"{NODE_IMAGES}/{OWN}"),
    "list its node": Attempt("GET", f"{NODE_IMAGES}?fieldSelector=metadata.name={OWN}"),
    "tell its node's status": Attempt("PATCH", f"{NODE_IMAGES}/{OWN}/status", STATUS),
    "tell it in the other version": Attempt(
        "PATCH", f"/apis/{names.KRUISE_GROUP}/{names.KRUISE_VERSIONS[1]}/nodeimages/{OWN}/status", STATUS
    ),
    "list its node's requests": Attempt("GET", f"{REQUESTS}?fieldSelector=status.nodeName={OWN}"),
    "tell of its node's request": Attempt("PATCH", f"{REQUESTS}/own/status", RECREATED),
    "tell of a request of OpenKruise for its node": Attempt(
        "PATCH", f"{REQUESTS}/own-labelled/status", RECREATED
    ),
    "read a pod of its node": Attempt("GET", f"{PODS}/own-pod"),
    "list the pods of its node": Attempt("GET", f"/api/v1/pods?fieldSelector=spec.nodeName={OWN}"),
    "tell the status of a pod of its node": Attempt("PATCH", f"{PODS}/own-pod/status", POD_STATUS),
    "give a first sign of life": Attempt("POST", LEASES, lease(names.lease_name(OWN))),
    "give another": Attempt("PATCH", f"{LEASES}/{names.lease_name(OWN)}", {"spec": {"holderIdentity": OWN}}),
    "record an event": Attempt("POST", EVENTS, event("own-new", OWN)),
    "record it again": Attempt("PATCH", f"{EVENTS}/own-new", SERIES),
    "read its node's sealed secrets": Attempt("GET", f"{SECRETS}/{OWN}"),
    "read its Node": Attempt("GET", f"/api/v1/nodes?fieldSelector=metadata.name={OWN}"),
    "resize its own pod": Attempt("PATCH", f"{PODS}/own-pod/resize", RESIZE),
}
"""What an agent does, in this order."""

OF_OTHER_NODES: Final[Mapping[str, Attempt]] = {
    "tell another node's status": Attempt("PATCH", f"{NODE_IMAGES}/{OTHER}/status", STATUS),
    "tell it in the other version": Attempt(
        "PATCH", f"/apis/{names.KRUISE_GROUP}/{names.KRUISE_VERSIONS[1]}/nodeimages/{OTHER}/status", STATUS
    ),
    "tell of another node's request": Attempt("PATCH", f"{REQUESTS}/other/status", RECREATED),
    "tell of a request that is labelled as its own": Attempt(
        "PATCH", f"{REQUESTS}/other-labelled/status", RECREATED
    ),
    "tell of a request that is nobody's yet": Attempt("PATCH", f"{REQUESTS}/nobody-s/status", RECREATED),
    "take a request that is nobody's yet": Attempt(
        "PATCH", f"{REQUESTS}/nobody-s/status", {"status": {"nodeName": OWN}}
    ),
    "give its request away": Attempt("PATCH", f"{REQUESTS}/own/status", {"status": {"nodeName": OTHER}}),
    "have its request mean another pod": Attempt(
        "PATCH", f"{REQUESTS}/own/status", {"status": {"podUID": "another"}}
    ),
    "label its own pod by the status": Attempt("PATCH", f"{PODS}/own-pod/status", LABEL),
    "hold its own pod by a finalizer": Attempt(
        "PATCH", f"{PODS}/own-pod/status", {"metadata": {"finalizers": ["a.test/b"]}}
    ),
    "have devices of another claim for its pod": Attempt(
        "PATCH",
        f"{PODS}/own-pod/status",
        {"status": {"resourceClaimStatuses": [{"name": CLAIM, "resourceClaimName": "stolen"}]}},
    ),
    "have its pod get another one's traffic": Attempt(
        "PATCH",
        f"{PODS}/own-pod/status",
        {"status": {"podIP": "192.0.2.7", "podIPs": [{"ip": "192.0.2.7"}]}},
    ),
    "end its own pod": Attempt("PATCH", f"{PODS}/own-pod/status", {"status": {"phase": "Failed"}}),
    "tell what its pod's containers do": Attempt(
        "PATCH", f"{PODS}/own-pod/status", {"status": {"containerStatuses": [running("holder")]}}
    ),
    "take what the kubelet told of its pod away": Attempt(
        "PATCH", f"{PODS}/own-pod/status", {"status": {"phase": None, "qosClass": None, "startTime": None}}
    ),
    "tell another node's pod's status": Attempt("PATCH", f"{PODS}/other-pod/status", POD_STATUS),
    "apply another node's status": Attempt(
        "PATCH",
        f"{NODE_IMAGES}/{OTHER}/status?fieldManager=tried&force=true",
        kruise("NodeImage", OTHER, {}) | STATUS,
        patch="apply",
    ),
    "tell a part of another node's status": Attempt(
        "PATCH",
        f"{NODE_IMAGES}/{OTHER}/status",
        [{"op": "add", "path": "/status", "value": {"desired": 1}}],
        patch="json",
    ),
    "make another node's Lease": Attempt("POST", LEASES, lease(names.lease_name("third-node"))),
    "renew another node's Lease": Attempt(
        "PATCH", f"{LEASES}/{names.lease_name(OTHER)}", {"spec": {"holderIdentity": OWN}}
    ),
    "take the controller's Lease": Attempt(
        "PATCH", f"{LEASES}/{names.ELECTION_LEASE}", {"spec": {"holderIdentity": OWN}}
    ),
    "make a Lease of any name": Attempt("POST", LEASES, lease("any")),
    "make a Lease without a name": Attempt(
        "POST", LEASES, {"metadata": {"generateName": f"{names.lease_name(OWN)}-"}, "spec": {}}
    ),
    "record an event as another node": Attempt("POST", EVENTS, event("stolen", OTHER)),
    "change another node's event": Attempt("PATCH", f"{EVENTS}/of-other", SERIES),
    "resize another node's pod": Attempt("PATCH", f"{PODS}/other-pod/resize", RESIZE),
}
"""Writes that RBAC grants, and that only the admission policy can tell from the agent's own."""

OF_NO_BUSINESS: Final[Mapping[str, Attempt]] = {
    "change its node's spec": Attempt("PATCH", f"{NODE_IMAGES}/{OWN}", SPEC),
    "label its node": Attempt("PATCH", f"{NODE_IMAGES}/{OWN}", LABEL),
    "change another node's spec": Attempt("PATCH", f"{NODE_IMAGES}/{OTHER}", SPEC),
    "label another node": Attempt("PATCH", f"{NODE_IMAGES}/{OTHER}", LABEL),
    "make a node": Attempt("POST", NODE_IMAGES, kruise("NodeImage", "third-node", {})),
    "remove its node": Attempt("DELETE", f"{NODE_IMAGES}/{OWN}"),
    "remove another node": Attempt("DELETE", f"{NODE_IMAGES}/{OTHER}"),
    "remove all nodes": Attempt("DELETE", NODE_IMAGES),
    "remove all Leases": Attempt("DELETE", LEASES),
    "remove all events": Attempt("DELETE", EVENTS),
    "remove all sealed secrets": Attempt("DELETE", SECRETS),
    "remove its Lease": Attempt("DELETE", f"{LEASES}/{names.lease_name(OWN)}"),
    "remove another node's Lease": Attempt("DELETE", f"{LEASES}/{names.lease_name(OTHER)}"),
    "make its Lease elsewhere": Attempt(
        "POST",
        "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        lease(names.lease_name(OWN)),
    ),
    "keep a Node alive": Attempt("PATCH", f"{NODE_LEASES}/{OTHER}", {"spec": {"holderIdentity": OTHER}}),
    "remove an event": Attempt("DELETE", f"{EVENTS}/of-other"),
    "make a job": Attempt("POST", JOBS, kruise("ImagePullJob", "tried", {"image": "a"})),
    "change a job": Attempt("PATCH", f"{JOBS}/job", {"spec": {"image": "b"}}),
    "tell a job's status": Attempt("PATCH", f"{JOBS}/job/status", STATUS),
    "remove a job": Attempt("DELETE", f"{JOBS}/job"),
    "ask for a new container": Attempt(
        "POST",
        REQUESTS,
        kruise("ContainerRecreateRequest", "tried", {"podName": "a", "containers": [{"name": "b"}]}),
    ),
    "label its request": Attempt("PATCH", f"{REQUESTS}/own", LABEL),
    "remove its request": Attempt("DELETE", f"{REQUESTS}/own"),
    "make a list": Attempt("POST", LISTS, kruise("ImageListPullJob", "tried", {"images": ["a"]})),
    "tell a list's status": Attempt("PATCH", f"{LISTS}/list/status", STATUS),
    "make a Secret for a node": Attempt("POST", SECRETS, {"metadata": {"name": "third-node"}}),
    "change its sealed secrets": Attempt("PATCH", f"{SECRETS}/{OWN}", {"stringData": {"a": "b"}}),
    "change another node's sealed secrets": Attempt("PATCH", f"{SECRETS}/{OTHER}", LABEL),
    "remove sealed secrets": Attempt("DELETE", f"{SECRETS}/{OTHER}"),
    "make a Secret elsewhere": Attempt(
        "POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "tried"}}
    ),
    "change a Secret elsewhere": Attempt("PATCH", "/api/v1/namespaces/default/secrets/anybody-s", LABEL),
    "make a pod": Attempt(
        "POST",
        PODS,
        {
            "metadata": {"name": "tried"},
            "spec": {"nodeName": OTHER, "containers": [{"name": "a", "image": "b"}]},
        },
    ),
    "label its own pod": Attempt("PATCH", f"{PODS}/own-pod", LABEL),
    "label another node's pod": Attempt("PATCH", f"{PODS}/other-pod", LABEL),
    "remove its own pod": Attempt("DELETE", f"{PODS}/own-pod"),
    "remove another node's pod": Attempt("DELETE", f"{PODS}/other-pod"),
}
"""Writes that nobody grants, and that the admission policy refuses even where somebody did by mistake."""

ELSEWHERE: Final[Mapping[str, Attempt]] = {
    "list sealed secrets": Attempt("GET", SECRETS),
    "watch sealed secrets": Attempt("GET", f"{SECRETS}?watch=1&timeoutSeconds=1"),
    "read a Secret": Attempt("GET", "/api/v1/namespaces/default/secrets/anybody-s"),
    "read a Secret of the release": Attempt("GET", "/api/v1/namespaces/NAMESPACE/secrets/anybody-s"),
    "read a Secret of OpenKruise": Attempt("GET", "/api/v1/namespaces/kruise-daemon-config/secrets/copy"),
    "list Secrets": Attempt("GET", "/api/v1/namespaces/default/secrets"),
    "list all Secrets": Attempt("GET", "/api/v1/secrets"),
    "watch all Secrets": Attempt("GET", "/api/v1/secrets?watch=1&timeoutSeconds=1"),
    "read a job": Attempt("GET", f"{JOBS}/job"),
    "list jobs": Attempt("GET", f"/apis/{names.KRUISE_API}/imagepulljobs"),
    "list lists": Attempt("GET", f"/apis/{names.KRUISE_API}/imagelistpulljobs"),
    "replace its node's status": Attempt("PUT", f"{NODE_IMAGES}/{OWN}/status", {"metadata": {"name": OWN}}),
    "list Leases": Attempt("GET", LEASES),
    "list events": Attempt("GET", EVENTS),
    "record an event of the old kind": Attempt(
        "POST",
        "/api/v1/namespaces/default/events",
        {"metadata": {"name": "old"}, "involvedObject": {"namespace": "default"}, "reportingInstance": OWN},
    ),
    "run a command in another node's pod": Attempt("POST", f"{PODS}/other-pod/exec?command=id"),
    "evict another node's pod": Attempt(
        "POST", f"{PODS}/other-pod/eviction", {"metadata": {"name": "other-pod"}}
    ),
    "label its own Node": Attempt("PATCH", f"/api/v1/nodes/{OWN}", LABEL),
    "tell another Node's status": Attempt("PATCH", f"/api/v1/nodes/{OTHER}/status", {"status": {}}),
    "list ConfigMaps": Attempt("GET", "/api/v1/namespaces/NAMESPACE/configmaps"),
    "make a token of its own": Attempt(
        "POST", "/api/v1/namespaces/NAMESPACE/serviceaccounts/NAMESPACE-inplaced-agent/token", {"spec": {}}
    ),
    "make a token of the controller": Attempt(
        "POST",
        "/api/v1/namespaces/NAMESPACE/serviceaccounts/NAMESPACE-inplaced-controller/token",
        {"spec": {}},
    ),
    "make itself an administrator": Attempt(
        "POST",
        f"{RBAC}/clusterrolebindings",
        {
            "metadata": {"name": "tried"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
        },
    ),
    "remove the admission policy": Attempt(
        "DELETE", f"{ADMISSION}/validatingadmissionpolicies/NAMESPACE-inplaced-agent"
    ),
    "remove the policy's binding": Attempt(
        "DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/NAMESPACE-inplaced-agent"
    ),
    "change the kinds": Attempt(
        "PATCH",
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodeimages.{names.KRUISE_GROUP}",
        LABEL,
    ),
}
"""What nobody grants: all Secrets but its own, other kinds, and ways to become somebody else."""
