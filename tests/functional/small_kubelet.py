"""What a kubelet does for one container: it starts it with the environment of that moment, each time."""

from dataclasses import dataclass
from typing import Any

from daemon.cri.v1 import runtime_pb2 as pb
from daemon.objects.container_hashes import plain_hash
from tests.functional.pod_world import NODE, PodWorld

IMAGE = "repo/app:v1"
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": True}
OPTED_IN = {"inplaced.dev/restart-on-metadata-change": "true"}


@dataclass(slots=True)
class SmallKubelet:
    """Runs the pod shop/web with a container "app" whose COLOUR comes from an annotation."""

    world: PodWorld
    restarts: int = 0
    container_id: str = ""

    def run(self, *, owned: bool = False) -> None:
        """Create the pod and start its container."""
        owners = {"ownerReferences": [OWNER]} if owned else {}
        annotations = {"colour": "red", **OPTED_IN}
        metadata = {"name": "web", "namespace": "shop", "annotations": annotations, **owners}
        source = {"fieldRef": {"fieldPath": "metadata.annotations['colour']"}}
        container = {"name": "app", "image": IMAGE, "env": [{"name": "COLOUR", "valueFrom": source}]}
        self.world.server.store(
            "pods", {"metadata": metadata, "spec": {"nodeName": NODE, "containers": [container]}}
        )
        self.start()

    @property
    def pod(self) -> dict[str, Any]:
        """As it is stored, for whoever writes it whatever its version is."""
        stored = dict(self.world.server.document("pods", "web", "shop"))
        kept = {key: value for key, value in stored["metadata"].items() if key != "resourceVersion"}
        return stored | {"metadata": kept}

    @property
    def annotations(self) -> dict[str, str]:
        """Of the pod."""
        return dict(self.pod["metadata"].get("annotations", {}))

    def condition(self) -> dict[str, Any]:
        """The one of the agent."""
        every = self.pod.get("status", {}).get("conditions", [])
        return next((each for each in every if each["type"] == "inplaced.dev/ContainersInSync"), {})

    def annotate(self, **annotations: str) -> None:
        """Change annotations of the pod."""
        pod = self.pod
        metadata = pod["metadata"] | {"annotations": self.annotations | annotations}
        self.world.server.store("pods", pod | {"metadata": metadata})

    def start(self) -> None:
        """Start the container with what the pod says now, and tell it."""
        node = self.world.runtime.node
        metadata = self.pod["metadata"]
        config = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name="app", attempt=self.restarts),
            labels={"io.kubernetes.pod.uid": metadata["uid"], "io.kubernetes.container.name": "app"},
            annotations={"io.kubernetes.container.hash": f"{plain_hash('app', IMAGE):x}"},
            envs=[pb.KeyValue(key="COLOUR", value=self.annotations["colour"])],
        )
        made = node.CreateContainer(pb.CreateContainerRequest(pod_sandbox_id="s", config=config))
        node.StartContainer(pb.StartContainerRequest(container_id=made.container_id))
        self.container_id = made.container_id
        self.tell({"running": {"startedAt": "2026-05-01T12:00:00Z"}})

    def tell(self, state: dict[str, Any]) -> None:
        """Write the status of the container."""
        pod = self.pod
        status = {
            "name": "app",
            "containerID": f"containerd://{self.container_id}",
            "restartCount": self.restarts,
            "state": state,
        }
        before = pod.get("status", {})
        self.world.server.store("pods", pod | {"status": {**before, "containerStatuses": [status]}})

    def restart(self) -> None:
        """Start a successor."""
        self.restarts += 1
        self.start()

    def stops(self) -> list[str]:
        """The containers that were stopped, in order."""
        return [each.container_id for each in self.world.runtime.requests("StopContainer")]
