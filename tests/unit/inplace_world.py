"""A pod with a kubelet and an agent beside it, as plain data: what they do happens when a test says so."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from daemon import names
from daemon.inplace.observing import Observed, Write
from daemon.inplace.planner import plan
from daemon.inplace.targets import Options, Progress, Target
from daemon.kube.decoding import decoded
from daemon.kube.resources import WHOLE_PODS
from daemon.objects.container_env import metadata_values
from daemon.objects.container_hashes import fingerprint, plain_hash
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import Outcome, WishError, wish_of
from daemon.objects.running_containers import RunningContainer, told_of
from tests.fakes.apipatches import strategically_merged

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HASH = names.TEMPLATE_HASH_LABEL


def digest(image: str) -> str:
    """The ID of an image: names with the same last part after ``-same-`` are one image."""
    return f"sha256:{abs(hash(image.rpartition('-same-')[2])):064x}"[:71]


def shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class Truth:
    """What really runs in a container."""

    image: str
    env: Mapping[str, str]
    restarts: int = 0


@dataclass
class SimulatedPod:
    """One pod as stored, and what is true of it."""

    revision: Mapping[str, Any]
    name: str = "web-1"
    gated: bool = True
    alias: str = ""
    """The name that the runtime shows for every image, where that is not its own."""
    infeasible: bool = False
    now: datetime = BEGIN
    document: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Truth] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    """Containers that were stopped for an image that did not come."""
    writes: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        template = copy.deepcopy(self.revision["spec"]["template"])
        metadata, spec = template["metadata"], template["spec"]
        metadata["labels"][HASH] = self.name.rpartition("-")[0] + "-old"
        gates = [{"conditionType": names.IN_PLACE_UPDATE_READY}] if self.gated else []
        self.document = {
            "metadata": {
                **{key: each for key, each in metadata.items() if each is not None},
                "name": self.name,
                "namespace": "default",
                "uid": f"uid-{self.name}",
                "resourceVersion": "1",
                "generation": 1,
            },
            "spec": {**spec, "nodeName": "node-1", "readinessGates": gates},
            "status": {"phase": "Running", "conditions": [], "containerStatuses": []},
        }
        for container in spec["containers"]:
            self.truth[container["name"]] = Truth(container["image"], self._env(container["name"]))
        self.told()
        if self.gated:
            self._condition(names.IN_PLACE_UPDATE_READY, "True")
        self._condition(names.READY, "True")

    @property
    def pod(self) -> LocalPod:
        """As it is stored now."""
        return decoded(WHOLE_PODS, json.dumps(self.document).encode())

    def condition(self, type_: str) -> Mapping[str, Any]:
        found = [each for each in self.document["status"]["conditions"] if each["type"] == type_]
        return found[0] if found else {}

    @property
    def serving(self) -> bool:
        """Whether traffic may come, as far as updates are concerned."""
        return self.condition(names.IN_PLACE_UPDATE_READY).get("status") == "True"

    @property
    def is_true(self) -> bool:
        """Whether all containers run what the pod says."""
        return not self.dead and all(
            truth.image == self._spec(name)["image"] and truth.env == self._env(name)
            for name, truth in self.truth.items()
        )

    def apply(self, write: Write) -> bool:
        """Do as the API server would; False for a conflict."""
        metadata = write.document["metadata"]
        if metadata["resourceVersion"] != self.document["metadata"]["resourceVersion"]:
            return False
        if write.step == "Try":
            return True
        before = self.document
        after = strategically_merged(before, json.loads(json.dumps(write.document)))
        if write.subresource == "status":
            after = {**before, "metadata": after["metadata"], "status": after["status"]}
        else:
            after = {**before, "metadata": after["metadata"], "spec": after["spec"]}
        self.document = after
        self._touch(spec=after["spec"] != before["spec"])
        self.writes.append(write)
        return True

    def kubelet(self, *, pulls: bool = True) -> None:
        """Restart what was given another image, or cannot be pulled."""
        for name, truth in self.truth.items():
            image = self._spec(name)["image"]
            if truth.image == image and name not in self.dead:
                continue
            if pulls:
                self._restart(name)
            else:
                self.dead.add(name)
                self.told(waiting={name: "ImagePullBackOff"})
        for name in self.truth:
            self._status(name)["resources"] = copy.deepcopy(self._spec(name).get("resources", {}))

    def agent(self) -> None:
        """Restart what drifted while the pod is out of traffic, resize, and tell what runs."""
        for name, truth in self.truth.items():
            drifted = truth.env != self._env(name) and truth.image == self._spec(name)["image"]
            if drifted and not self.serving:
                self._restart(name)
        self._resize()
        running = {
            name: RunningContainer(
                id=self._status(name)["containerID"],
                restarts=truth.restarts,
                image=plain_hash(name, truth.image),
                metadata=fingerprint(truth.env),
            )
            for name, truth in self.truth.items()
        }
        self.tell(running)

    def tell(self, running: Mapping[str, RunningContainer]) -> None:
        """Have the agent say so of what runs."""
        told = msgspec.to_builtins(told_of(running))
        conditions = self.document["status"]["conditions"]
        conditions[:] = [*(each for each in conditions if each["type"] != told["type"]), told]
        self._touch()

    def crash(self, name: str) -> None:
        """A container ends by itself, and is started with what the kubelet knows."""
        truth = self.truth[name]
        truth.restarts += 1
        truth.env = self._env(name)
        self.told()

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _resize(self) -> None:
        text = self.document["metadata"].get("annotations", {}).get(names.RESOURCES_ANNOTATION, "")
        try:
            wish = wish_of(text)
        except WishError:
            return
        outcome = Outcome.INFEASIBLE if self.infeasible else Outcome.IN_SYNC
        for name, wanted in wish.containers.items():
            if not self.infeasible:
                parts = {"requests": dict(wanted.requests), "limits": dict(wanted.limits)}
                self._spec(name)["resources"] = {key: part for key, part in parts.items() if part}
        record = {"wish": "w", "reason": outcome, "since": shown(self.now), "revision": wish.revision}
        self.document["metadata"]["annotations"][names.RESIZE_RECORD_ANNOTATION] = json.dumps(record)

    def _restart(self, name: str) -> None:
        truth = self.truth[name]
        self.dead.discard(name)
        self.truth[name] = Truth(self._spec(name)["image"], self._env(name), truth.restarts + 1)
        self.told()

    def _spec(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(
            each for each in self.document["spec"]["containers"] if each["name"] == name
        )
        return found

    def _status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(
            each for each in self.document["status"]["containerStatuses"] if each["name"] == name
        )
        return found

    def _env(self, name: str) -> Mapping[str, str]:
        pod = self.pod
        return metadata_values(pod, next(each for each in pod.spec.containers if each.name == name))

    def told(self, waiting: Mapping[str, str] | None = None) -> None:
        """Write the statuses of all containers as the kubelet would."""
        self.document["status"]["containerStatuses"] = [
            {
                "name": name,
                "containerID": f"containerd://{name}-{truth.restarts}",
                "image": self.alias or truth.image,
                "imageID": digest(truth.image),
                "restartCount": truth.restarts,
                "ready": name not in (waiting or {}),
                "resources": copy.deepcopy(self._spec(name).get("resources", {})),
                "state": {"waiting": {"reason": waiting[name], "message": f"no {self._spec(name)['image']}"}}
                if waiting and name in waiting
                else {"running": {"startedAt": shown(self.now)}},
            }
            for name, truth in self.truth.items()
        ]
        self._touch()

    def _condition(self, type_: str, status: str) -> None:
        told = {"type": type_, "status": status, "lastTransitionTime": shown(self.now)}
        self.document["status"]["conditions"].append(told)

    def _touch(self, *, spec: bool = False) -> None:
        metadata = self.document["metadata"]
        version = str(int(metadata["resourceVersion"]) + 1)
        generation = metadata["generation"] + int(spec)
        self.document["metadata"] = {**metadata, "resourceVersion": version, "generation": generation}


def target_of(
    old: Mapping[str, Any] | None, new: Mapping[str, Any], *, revision: str = "web-new", **options: Any
) -> Target:
    """What a workload asks of the pod."""
    return Target(revision=revision, labels={HASH: revision}, old=old, new=new, options=Options(**options))


def advance(world: SimulatedPod, target: Target, *, seen: LocalPod | None = None) -> Progress:
    """Take the steps that can be taken, as ``PodUpdates`` does."""
    pod = seen or world.pod
    tried = False
    for _ in range(10):
        step = plan(Observed(pod, target, world.now, tried=tried))
        if not isinstance(step, Write):
            return step
        written = world.apply(step)
        tried = written and step.step == "Try"
        if written and step.then is not None:
            return step.then
        pod = world.pod
    raise AssertionError("it never comes to rest")
