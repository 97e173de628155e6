"""The kinds that we read and write: where the API server has them, and which of our structs they become."""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from daemon import names
from daemon.engine.objects import ApiObject
from daemon.objects import pods, recreates, slim_images
from daemon.objects.events import Event
from daemon.objects.images import ImageListPullJob, ImagePullJob, NodeImage, Secret
from daemon.objects.launch_order import kept_by_centre
from daemon.objects.leases import Lease
from daemon.objects.local_nodes import LocalNode
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.nodes import Node
from daemon.objects.pods import Pod
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.objects.revisions import ControllerRevision, PersistentVolumeClaim, of_kruise
from daemon.objects.slim_pods import slim
from daemon.objects.workload_restarts import Target, WorkloadRestart
from daemon.objects.workloads import CloneSet

T = TypeVar("T", bound=ApiObject)


class Resource(msgspec.Struct, Generic[T], frozen=True):
    """One kind as one version of an API serves it."""

    type: type[T]
    group: str
    version: str
    plural: str
    namespaced: bool = True
    confidential: bool = False
    """What the server says of an object may quote the object: it is never repeated."""
    named: str = ""
    """The kind, where the struct has another name."""
    read: Callable[[bytes | msgspec.Raw], T] | None = None
    """How bytes become an object, with msgspec's errors; by default as the struct says."""
    kept: Callable[[T], T] | None = None
    """What is left of an object once it is decoded; by default all of it."""
    packed: bool = False
    """Whether a copy lies packed: where there are many objects, rarely read, and memory is dear."""
    page: int = 500
    """Objects in one page of a list: as many as client-go asks for, fewer where each can be large."""

    @property
    def kind(self) -> str:
        """The kind as it stands in manifests."""
        return self.named or self.type.__name__

    @property
    def api_version(self) -> str:
        """Group and version as they stand in manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def served_as(self, version: str) -> "Resource[T]":
        """The same kind in another version."""
        return replace(self, version=version)

    def collection(self, namespace: str = "") -> str:
        """The path of all objects, or of those in one namespace."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{inside}/{self.plural}"

    def path(self, key: Key, subresource: str = "") -> str:
        """The path of one object."""
        end = f"/{subresource}" if subresource else ""
        return f"{self.collection(key.namespace)}/{key.name}{end}"


_KRUISE = (names.KRUISE_GROUP, names.KRUISE_VERSIONS[0])

IMAGE_PULL_JOBS = Resource(ImagePullJob, *_KRUISE, "imagepulljobs")
IMAGE_LIST_PULL_JOBS = Resource(ImageListPullJob, *_KRUISE, "imagelistpulljobs")
NODE_IMAGES = Resource(NodeImage, *_KRUISE, "nodeimages", namespaced=False)
CLUSTER_NODE_IMAGES = Resource(
    NodeImage, *_KRUISE, "nodeimages", namespaced=False, read=slim_images.read, page=50
)
"""Those of all nodes as the controller reads them."""
RECREATE_REQUESTS = Resource(ContainerRecreateRequest, *_KRUISE, "containerrecreaterequests")
WORKLOAD_RESTARTS = Resource(WorkloadRestart, names.OWN_GROUP, names.OWN_VERSION, "workloadrestarts")
TARGETS = {
    (resource.api_version, resource.kind): resource
    for resource in (
        *(
            Resource(Target, "apps", "v1", f"{kind.lower()}s", named=kind)
            for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
        ),
        *(
            Resource(Target, names.KRUISE_GROUP, version, f"{kind.lower()}s", named=kind)
            for kind in ("CloneSet", "StatefulSet", "DaemonSet")
            for version in names.KRUISE_VERSIONS
        ),
    )
}
"""Workloads whose pods can be restarted, by apiVersion and kind."""
LOCAL_RECREATES = Resource(
    ContainerRecreateRequest, *_KRUISE, "containerrecreaterequests", kept=recreates.slim
)
"""Requests as the agent of their node reads them."""
CLONE_SETS = Resource(CloneSet, *_KRUISE, "clonesets")
CONTROLLER_REVISIONS = Resource(ControllerRevision, "apps", "v1", "controllerrevisions", kept=of_kruise)
VOLUME_CLAIMS = Resource(PersistentVolumeClaim, "", "v1", "persistentvolumeclaims")
NODES = Resource(Node, "", "v1", "nodes", namespaced=False)
PODS = Resource(Pod, "", "v1", "pods", kept=pods.slim)
"""Pods as a controller reads them that only wants to know where they are."""
LOCAL_NODES = Resource(LocalNode, "", "v1", "nodes", namespaced=False, named="Node")
"""The one node of an agent, as it reads it."""
LOCAL_PODS = Resource(LocalPod, "", "v1", "pods", named="Pod", kept=slim, packed=True)
"""Pods as the agent of their node reads them."""
WHOLE_PODS = Resource(LocalPod, "", "v1", "pods", named="Pod")
"""Single pods that are read to act on them, whatever else is kept of them."""
CLUSTER_PODS = Resource(LocalPod, "", "v1", "pods", named="Pod", kept=kept_by_centre)
"""All pods as the controller reads them."""
SECRETS = Resource(Secret, "", "v1", "secrets", confidential=True)
LEASES = Resource(Lease, "coordination.k8s.io", "v1", "leases")
EVENTS = Resource(Event, "events.k8s.io", "v1", "events")
