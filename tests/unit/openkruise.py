"""How OpenKruise's manager goes on with a pod in mid-update, for pods that our controller left so.

The order of its checks, what it reads, and in which types, are those of ``pkg/util/inplaceupdate`` and
``apis/apps/pub/inplace_update.go`` of OpenKruise 1.9; nothing is forgiven.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from daemon import names
from daemon.objects.container_env import metadata_values
from daemon.objects.container_hashes import environment_hash, plain_hash
from tests.fakes.apipatches import strategically_merged
from tests.unit.inplace_world import SimulatedPod, shown

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
STATE, GRACE = "apps.kruise.io/inplace-update-state", "apps.kruise.io/inplace-update-grace"
META = "apps.kruise.io/runtime-containers-meta"


class _Go(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A type of Go: of no field may be more, or of another kind, than it knows."""


class ImageStatus(_Go, frozen=True):
    image_id: str = msgspec.field(default="", name="imageID")


class Metadata(_Go, frozen=True):
    creation_timestamp: None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Resources(_Go, frozen=True):
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class Ready(_Go, frozen=True):
    containers_required_ready: list[str] = []


class Batch(_Go, frozen=True):
    timestamp: str
    containers: list[str]


class State(_Go, frozen=True):
    """InPlaceUpdateState."""

    revision: str
    update_timestamp: str
    last_container_statuses: dict[str, ImageStatus] | None
    update_env_from_metadata: bool = False
    update_resources: bool = False
    update_images: bool = False
    next_container_images: dict[str, str] = {}
    next_container_ref_metadata: dict[str, Metadata] = {}
    next_container_resources: dict[str, Resources] = {}
    pre_check_before_next: Ready | None = None
    container_batches_record: list[Batch] = []


class UpdateSpec(_Go, frozen=True):
    """What waits for the end of a grace period."""

    revision: str = ""
    container_images: dict[str, str] = {}
    container_ref_metadata: dict[str, Metadata] = {}
    container_resources: dict[str, Resources] = {}
    meta_data_patch: str = ""
    update_env_from_metadata: bool = False
    grace_seconds: int = 0


def go_time(text: str) -> datetime:
    """As Go reads a time. Raises ValueError."""
    if _RFC3339.fullmatch(text) is None:
        raise ValueError(text)
    return datetime.fromisoformat(text).astimezone(UTC)


class Manager:
    """One look after the other at one pod; *revision* is the set's newest."""

    def __init__(self, world: SimulatedPod, revision: str) -> None:
        self._world = world
        self._revision = revision

    @property
    def _notes(self) -> dict[str, str]:
        notes: dict[str, str] = self._world.document["metadata"].setdefault("annotations", {})
        return notes

    @property
    def _containers(self) -> list[dict[str, Any]]:
        containers: list[dict[str, Any]] = self._world.document["spec"]["containers"]
        return containers

    def state(self) -> State | None:
        """What the pod says of its update. Raises ValueError for what Go would not read."""
        if STATE not in self._notes:
            return None
        state = msgspec.json.decode(self._notes[STATE], type=State)
        for text in (state.update_timestamp, *(each.timestamp for each in state.container_batches_record)):
            go_time(text)
        return state

    def refresh(self) -> bool:
        """Whether the pod is given back to traffic by now."""
        if GRACE in self._notes:
            self._finish_grace()
            return False
        state = self.state()
        if state is not None and not self._is_complete(state):
            return False
        if state is not None and (state.next_container_images or state.next_container_ref_metadata):
            if self._may_go_on(state):
                spec = UpdateSpec(
                    container_images=state.next_container_images,
                    container_ref_metadata=state.next_container_ref_metadata,
                    container_resources=state.next_container_resources,
                )
                self._patch(spec, state)
            return False
        self._give_back()
        return True

    def _finish_grace(self) -> None:
        spec, state = msgspec.json.decode(self._notes[GRACE], type=UpdateSpec), self.state()
        assert state is not None, "its own code fails without a state beside the grace annotation"
        label = self._world.document["metadata"]["labels"]["controller-revision-hash"]
        assert label.rpartition("-")[2] == spec.revision.rpartition("-")[2], "it would begin anew"
        passed = self._world.now - go_time(state.update_timestamp)
        if passed.total_seconds() >= spec.grace_seconds:
            self._patch(spec, state)
            del self._notes[GRACE]

    def _patch(self, spec: UpdateSpec, state: State) -> None:
        if spec.meta_data_patch:
            patch = json.loads(base64.b64decode(spec.meta_data_patch))
            self._world.document = strategically_merged(self._world.document, patch)
        chosen = self._chosen(spec)
        last = dict(state.last_container_statuses or {})
        for container in self._containers:
            name = container["name"]
            if name in chosen and name in spec.container_images:
                container["image"] = spec.container_images[name]
                last.setdefault(name, ImageStatus(self._status(name)["imageID"]))
            if name in chosen and name in spec.container_resources:
                container["resources"] = msgspec.to_builtins(spec.container_resources[name])
        for name in chosen & spec.container_ref_metadata.keys():
            self._notes.update(spec.container_ref_metadata[name].annotations)
            self._world.document["metadata"]["labels"].update(spec.container_ref_metadata[name].labels)
        state = msgspec.structs.replace(
            state,
            last_container_statuses=last,
            next_container_images=_later(spec.container_images, chosen),
            next_container_ref_metadata=_later(spec.container_ref_metadata, chosen),
            next_container_resources=_later(spec.container_resources, chosen),
            pre_check_before_next=Ready(sorted(chosen)),
            container_batches_record=[
                *state.container_batches_record,
                Batch(shown(self._world.now), sorted(chosen)),
            ],
        )
        self._notes[STATE] = msgspec.json.encode(state).decode()

    def _chosen(self, spec: UpdateSpec) -> set[str]:
        """Those without a priority and those of the highest, and who reads what one of them reads."""
        changed = {*spec.container_images, *spec.container_ref_metadata, *spec.container_resources}
        priorities = {each["name"]: _priority(each) for each in self._containers if each["name"] in changed}
        highest = max((each for each in priorities.values() if each is not None), default=None)
        chosen = {name for name, each in priorities.items() if each is None or each == highest}
        keys = {name: set(_keys(each)) for name, each in spec.container_ref_metadata.items()}
        while more := {
            name
            for name in keys.keys() - chosen
            if any(keys[name] & keys.get(other, set()) for other in chosen)
        }:
            chosen |= more
        return chosen

    def _may_go_on(self, state: State) -> bool:
        check = state.pre_check_before_next or Ready()
        return all(self._status(name)["ready"] for name in check.containers_required_ready)

    def _is_complete(self, state: State) -> bool:
        metas = {each["name"]: each for each in json.loads(self._notes.get(META, "{}")).get("containers", ())}
        if state.update_env_from_metadata and not self._agree(metas, "extractedEnvFromMetadataHash"):
            return False
        if state.update_resources and any(
            each.get("resources", {}) != self._status(each["name"]).get("resources", {})
            for each in self._containers
        ):
            return False
        if self._agree(metas, "plainHash"):
            return True
        last = state.last_container_statuses or {}
        return all(
            last[each["name"]].image_id != self._status(each["name"])["imageID"]
            or each["image"] == self._status(each["name"])["image"]
            for each in self._containers
            if each["name"] in last
        )

    def _agree(self, metas: Mapping[str, Any], kind: str) -> bool:
        pod = self._world.pod
        for container in pod.spec.containers:
            wanted = {
                "plainHash": plain_hash(container.name, container.image),
                "extractedEnvFromMetadataHash": environment_hash(metadata_values(pod, container)),
            }[kind]
            meta = metas.get(container.name)
            if meta is None or meta["containerID"] != self._status(container.name)["containerID"]:
                return False
            if meta["hashes"].get(kind) != wanted:
                return False
        return True

    def _give_back(self) -> None:
        conditions = self._world.document["status"]["conditions"]
        rest = [each for each in conditions if each["type"] != names.IN_PLACE_UPDATE_READY]
        told = {
            "type": names.IN_PLACE_UPDATE_READY,
            "status": "True",
            "lastTransitionTime": shown(self._world.now),
        }
        self._world.document["status"]["conditions"] = [*rest, told]

    def _status(self, name: str) -> dict[str, Any]:
        statuses: list[dict[str, Any]] = self._world.document["status"]["containerStatuses"]
        return next(each for each in statuses if each["name"] == name)


def tell_metas(world: SimulatedPod) -> None:
    """What an agent says of running containers, for the manager."""
    containers = [
        {
            "name": name,
            "containerID": f"containerd://{name}-{truth.restarts}",
            "restartCount": truth.restarts,
            "hashes": {
                "plainHash": plain_hash(name, truth.image),
                "extractedEnvFromMetadataHash": environment_hash(truth.env),
            },
        }
        for name, truth in world.truth.items()
    ]
    world.document["metadata"].setdefault("annotations", {})[META] = json.dumps({"containers": containers})


def _later(parts: Mapping[str, Any], chosen: set[str]) -> dict[str, Any]:
    return {name: each for name, each in parts.items() if name not in chosen}


def _priority(container: Mapping[str, Any]) -> int | None:
    for variable in container.get("env", ()):
        source = variable.get("valueFrom", {}).get("configMapKeyRef", {})
        if variable["name"] == "KRUISE_CONTAINER_BARRIER" and source:
            return int(source["key"].removeprefix("p_"))
    return None


def _keys(metadata: Metadata) -> Iterator[tuple[str, str]]:
    yield from (("labels", key) for key in metadata.labels)
    yield from (("annotations", key) for key in metadata.annotations)
