"""CloneSets in mid-update as OpenKruise's manager leaves them when it goes, written object by object.

What it writes when: ``pkg/controller/cloneset`` and ``pkg/util/inplaceupdate`` of OpenKruise 1.9.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from daemon import names
from tests.testbed.go_documents import go_json, go_time, short_name
from tests.testbed.processes import until
from tests.testbed.sets import PODS, SETS, Document, RealSet, condition

REVISIONS: Final = "/apis/apps/v1/namespaces/default/controllerrevisions"
PATIENCE: Final = 60.0


AT_ONCE: Final[Document] = {
    "type": "RollingUpdate",
    "rollingUpdate": {"podUpdatePolicy": "InPlaceIfPossible", "maxUnavailable": "100%"},
}


@dataclass(slots=True)
class HandedOver:
    """One CloneSet, its revisions and its pods; nobody controls them until our controller is started."""

    web: RealSet
    uid: str = ""
    templates: list[Document] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)
    """Their names, the oldest first."""

    async def store(self, *templates: Document, **spec: Any) -> None:
        """Store the set, which has the last of *templates*, and a revision of each."""
        document = {
            "apiVersion": names.KRUISE_API,
            "kind": "CloneSet",
            "metadata": {"name": self.web.name, "namespace": "default"},
            "spec": {
                "revisionHistoryLimit": 10,
                "scaleStrategy": {},
                "selector": {"matchLabels": {"app": self.web.name}},
                "template": templates[-1],
                **spec,
            },
        }
        stored = await self.web.api.request("POST", SETS, document)
        self.uid = stored["metadata"]["uid"]
        for number, template in enumerate(templates, start=1):
            await self._revise(template, number)
        await self._status(stored["metadata"]["generation"], spec["replicas"])

    async def _revise(self, template: Document, number: int) -> None:
        data = {"spec": {"template": {**template, "$patch": "replace"}}}
        short = short_name(data)
        name = f"{self.web.name}-{short}"
        metadata = {
            "name": name,
            "labels": {**template["metadata"]["labels"], "controller.kubernetes.io/hash": short},
            "annotations": {"kruise.io/cloneset-volumeclaimtemplate-hash": ""},
            "ownerReferences": [self._owner()],
        }
        body = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": metadata,
            "data": data,
            "revision": number,
        }
        # The data is stored as it is sent, and may never be sent otherwise: not even with a blank more.
        await self.web.api.kubectl("create", "--raw", REVISIONS, "-f", "-", stdin=go_json(body))
        self.templates.append(template)
        self.revisions.append(name)

    async def _status(self, generation: int, replicas: int) -> None:
        at = go_time()
        progressing = {
            "type": "Progressing",
            "status": "True",
            "reason": "CloneSetUpdated",
            "message": "CloneSet is progressing",
            "lastUpdateTime": at,
            "lastTransitionTime": at,
        }
        status = {
            "observedGeneration": generation,
            "replicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": 0,
            "updatedReplicas": 0,
            "updatedReadyReplicas": 0,
            "expectedUpdatedReplicas": replicas,
            "updateRevision": self.revisions[-1],
            "currentRevision": self.revisions[0],
            "collisionCount": 0,
            "labelSelector": f"app={self.web.name}",
            "conditions": [progressing],
        }
        await self.web.api.request("PATCH", f"{SETS}/{self.web.name}/status", {"status": status})

    def _owner(self) -> Document:
        return {
            "apiVersion": names.KRUISE_API,
            "kind": "CloneSet",
            "name": self.web.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }

    def labels(self, revision: int, *, state: str = "Normal") -> dict[str, str]:
        """The labels by which the manager knows a pod's revision and the state of its life."""
        name = self.revisions[revision]
        return {
            "controller-revision-hash": name,
            "pod-template-hash": name.rpartition("-")[2],
            "lifecycle.apps.kruise.io/state": state,
        }

    async def pod(self, id_: str, revision: int = 0, *, barriers: Mapping[str, int] | None = None) -> str:
        """Make a pod of that revision, and return its name when it serves.

        *barriers* are priorities by container, for which the webhook adds a variable.
        """
        template, name = self.templates[revision], f"{self.web.name}-{id_}"
        metadata = {
            **{key: each for key, each in template["metadata"].items() if each is not None},
            "name": name,
            "labels": {
                **template["metadata"]["labels"],
                **self.labels(revision),
                "apps.kruise.io/cloneset-instance-id": id_,
            },
            "ownerReferences": [self._owner()],
        }
        gates = [{"conditionType": each} for each in ("InPlaceUpdateReady", "KruisePodReady")]
        spec = {**template["spec"], "readinessGates": gates}
        if barriers:
            spec["containers"] = [_behind(each, name, barriers[each["name"]]) for each in spec["containers"]]
            await self._lift(name, barriers)
        await self.web.api.request("POST", PODS, {"metadata": metadata, "spec": spec})
        opened = [_condition(each["conditionType"], "True") for each in gates]
        await self.patch(name, {"status": {"conditions": opened}}, "status")
        await self.reach(name, lambda pod: condition(pod, "Ready").get("status") == "True", "ready")
        return name

    async def _lift(self, name: str, barriers: Mapping[str, int]) -> None:
        """The ConfigMap for which the containers of a pod wait, with all its keys."""
        data = {f"p_{each}": "true" for each in barriers.values()}
        body = {"metadata": {"name": f"{name}-barrier", "labels": {"app": self.web.name}}, "data": data}
        await self.web.api.request("POST", "/api/v1/namespaces/default/configmaps", body)

    async def take_out(self, name: str) -> None:
        """The first write of an update: the gate, and Ready in the same write."""
        gate = _condition("InPlaceUpdateReady", "False", reason="StartInPlaceUpdate")
        await self.patch(name, {"status": {"conditions": [gate, _condition("Ready", "False")]}}, "status")

    async def begin(
        self,
        name: str,
        state: Mapping[str, Any],
        *,
        grace: Mapping[str, Any] | None = None,
        images: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """The second write: revision, lifecycle state, records, and without a grace period the change."""
        records = {"apps.kruise.io/inplace-update-state": go_json(state)}
        if grace is not None:
            records["apps.kruise.io/inplace-update-grace"] = go_json(grace)
        document: Document = {
            "metadata": {
                "labels": {**self.labels(1, state="Updating"), **(labels or {})},
                "annotations": {
                    **records,
                    "lifecycle.apps.kruise.io/timestamp": go_time(),
                    **(annotations or {}),
                },
            }
        }
        if images:
            document["spec"] = {"containers": [{"name": key, "image": each} for key, each in images.items()]}
        await self.patch(name, document)

    def state(self, **parts: Any) -> Document:
        """An update's state in the manager's JSON."""
        return {
            "revision": self.revisions[1],
            "updateTimestamp": go_time(),
            "lastContainerStatuses": None,
            **parts,
        }

    async def patch(self, name: str, document: Document, subresource: str = "") -> None:
        """Merge *document* into a pod."""
        path = f"{PODS}/{name}/{subresource}".rstrip("/")
        await self.web.api.request("PATCH", path, document, patch="strategic")

    async def reach(self, name: str, reached: Any, what: str) -> Document:
        """Wait until the pod is so, and return it."""
        found: Document = {}

        async def is_so() -> bool:
            found.update(await self.web.api.get(f"{PODS}/{name}"))
            return bool(reached(found))

        await until(is_so, timeout=PATIENCE, what=f"{name} to be {what}", pause=0.05)
        return found

    async def pods(self) -> dict[str, Document]:
        """The set's pods by name."""
        return {pod["metadata"]["name"]: pod for pod in await self.web.pods()}

    async def revisions_now(self) -> list[str]:
        """The names of the set's revisions as they are stored, the oldest first."""
        found = (await self.web.api.get(f"{REVISIONS}?labelSelector=app={self.web.name}"))["items"]
        return [each["metadata"]["name"] for each in sorted(found, key=lambda each: int(each["revision"]))]


def _behind(container: Mapping[str, Any], pod: str, priority: int) -> Document:
    source = {"name": f"{pod}-barrier", "key": f"p_{priority}"}
    barrier = {"name": "KRUISE_CONTAINER_BARRIER", "valueFrom": {"configMapKeyRef": source}}
    return {**container, "env": [*container.get("env", ()), barrier]}


def image_id(pod: Mapping[str, Any], container: str) -> str:
    """What the manager records of a container before its image changes."""
    statuses = pod["status"]["containerStatuses"]
    return next(str(each["imageID"]) for each in statuses if each["name"] == container)


def batch(*containers: str) -> Document:
    """One entry of ``containerBatchesRecord``."""
    return {"timestamp": go_time(), "containers": sorted(containers)}


def _condition(type_: str, status: str, *, reason: str = "") -> Document:
    more = {"reason": reason} if reason else {}
    return {"type": type_, "status": status, "lastTransitionTime": go_time(), **more}


def containers(image: str) -> list[Document]:
    """Two containers, of which the first takes a second to end."""
    slow = {"preStop": {"sleep": {"seconds": 1}}}
    return [{"name": "app", "image": image, "lifecycle": slow}, {"name": "side", "image": image}]
