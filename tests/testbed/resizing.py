"""A node of the test bed whose agent resizes pods, with the account, roles and policy of the chart."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from daemon import names
from tests.charts.fixtures import with_kinds
from tests.charts.rendering import is_hook, render
from tests.testbed import session
from tests.testbed.accounts import as_pod_on
from tests.testbed.api import PATCHES, Api, RefusedError
from tests.testbed.cluster import Cluster
from tests.testbed.pod_agent import PodAgent
from tests.testbed.processes import until

NAMESPACE: Final = "inplaced"
PODS: Final = "/api/v1/namespaces/default/pods"
DEADLINE: Final = 30.0
_PROGRAMS: Final = frozenset({"DaemonSet", "Deployment"})
"""What is left out of the release: its agent runs as a process that can be killed at any line."""

Document = Mapping[str, Any]


def container(name: str, image: str, **resources: Any) -> dict[str, Any]:
    """A container; ``requests`` and ``limits`` as in its resources, ``policy`` restarts it for these."""
    restarted = resources.pop("policy", ())
    made: dict[str, Any] = {"name": name, "image": image, "resources": resources}
    if restarted:
        made["resizePolicy"] = [
            {"resourceName": each, "restartPolicy": "RestartContainer"} for each in restarted
        ]
    return made


def pod(name: str, *containers: Document, wish: Document | None = None, **spec: Any) -> dict[str, Any]:
    """A pod that ends at once when it is deleted."""
    annotations = {names.RESOURCES_ANNOTATION: json.dumps(wish)} if wish is not None else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations, "labels": {"app": "resized"}},
        "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 0, **spec},
    }


def amounts(cpu: str = "", memory: str = "") -> dict[str, str]:
    """Quantities by resource, those that are given."""
    return {resource: text for resource, text in (("cpu", cpu), ("memory", memory)) if text}


@dataclass(slots=True, eq=False)
class ResizingNode:
    """A cluster of one node with an agent beside it."""

    cluster: Cluster
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further flags of the agent."""
    image: str = ""
    agent: PodAgent = field(init=False)
    client: aiohttp.ClientSession = field(init=False)
    _ends: AsyncExitStack = field(init=False, default_factory=AsyncExitStack)

    @property
    def api(self) -> Api:
        """As an administrator sees it."""
        return self.cluster.api

    async def start(self) -> None:
        """Start everything; what is started is ended by ``stop``."""
        self._ends.callback(self.cluster.remove)
        self._ends.push_async_callback(self.cluster.stop)
        await self.cluster.start()
        self.client = await self._ends.enter_async_context(self.api.session())
        await with_kinds(self.api)
        await self._grant()
        self.image = (await self.cluster.images.make_runnable("app")).ref
        token = await as_pod_on(self.api, NAMESPACE, f"{NAMESPACE}-agent", self.cluster.node)
        self.agent = PodAgent(
            session.current_session().new_directory("a"),
            [self.cluster.containerd.socket],
            session.current_session().certificates,
            self.settings,
            api=token,
            node=self.cluster.node,
        )
        await self.agent.start()
        self._ends.push_async_callback(self.agent.stop)

    async def stop(self) -> None:
        """End and remove everything."""
        await self._ends.aclose()

    async def _grant(self) -> None:
        """Install the release without its programs."""
        values = {"crds": {"install": False}}
        documents = [each for each in render(values, NAMESPACE, NAMESPACE) if not is_hook(each)]
        await self.api.create_if_missing("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await self.api.apply(*(each for each in documents if each["kind"] == "Namespace"))
        await self.api.apply(*(each for each in documents if each["kind"] not in _PROGRAMS))

    async def call(self, method: str, path: str, body: object = None, *, patch: str = "merge") -> Any:
        """One request on the open connection. Raises RefusedError."""
        kind = PATCHES[patch] if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        async with self.client.request(method, path, data=data, headers={"Content-Type": kind}) as answer:
            text = await answer.text()
        if answer.status >= 400:
            raise RefusedError(f"{method} {path}", answer.status, text)
        return json.loads(text)

    async def get(self, name: str) -> dict[str, Any]:
        """A pod as it is stored."""
        found: dict[str, Any] = await self.call("GET", f"{PODS}/{name}")
        return found

    async def run(self, *pods: Document) -> None:
        """Make pods and return when they are ready."""
        for each in pods:
            await self.call("POST", PODS, each)
        for each in pods:
            await self.until(
                each["metadata"]["name"], lambda seen: condition(seen, "Ready")["status"] == "True"
            )

    async def remove(self, *which: str) -> None:
        """Remove pods and return when they are gone."""
        for name in which:
            await self.call("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})
        for name in which:
            await until(lambda: self._is_gone(name), timeout=DEADLINE, what=f"{name} to go", pause=0.05)  # noqa: B023

    async def _is_gone(self, name: str) -> bool:
        try:
            await self.get(name)
        except RefusedError as error:
            return error.status == 404
        return False

    async def wish(self, name: str, wish: Document | None) -> None:
        """Write the annotation."""
        text = json.dumps(wish) if wish is not None else None
        body = {"metadata": {"annotations": {names.RESOURCES_ANNOTATION: text}}}
        await self.call("PATCH", f"{PODS}/{name}", body)

    async def until(
        self, name: str, holds: Any, *, timeout: float = DEADLINE, pause: float = 0.01
    ) -> dict[str, Any]:
        """Wait until a pod is so, and return it."""
        seen: dict[str, Any] = {}

        async def reached() -> bool:
            nonlocal seen
            seen = await self.get(name)
            return bool(holds(seen))

        try:
            await until(reached, timeout=timeout, what=name, pause=pause)
        except session.TestbedError as error:
            told = json.dumps({"status": seen.get("status"), "spec": _resources(seen)}, indent=1)
            raise session.TestbedError(f"{error}\n{told}\n{self.agent.log[-3000:]}") from error
        return seen

    async def outcome(self, name: str, reason: str, *, timeout: float = DEADLINE) -> dict[str, Any]:
        """Wait until the condition gives *reason*, and return the pod."""
        return await self.until(name, lambda seen: condition(seen)["reason"] == reason, timeout=timeout)

    def cgroup(self, seen: Document, controller: str, file: str, name: str = "app") -> Path:
        """A file of the cgroup of one container (version 1)."""
        (found,) = [each for each in seen["status"]["containerStatuses"] if each["name"] == name]
        identifier = found["containerID"].removeprefix("containerd://")
        top = session.CGROUPS / controller / self.cluster.pods_cgroup.strip("/")
        (path,) = top.glob(f"**/pod{seen['metadata']['uid']}/{identifier}")
        return path / file

    async def event(self, name: str, reason: str) -> str:
        """Wait for an event about a pod, and return what it says."""
        found: list[str] = []

        async def told() -> bool:
            events = await self.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events")
            about = [each for each in events["items"] if each["regarding"]["name"] == name]
            found.extend(each["note"] for each in about if each["reason"] == reason)
            return bool(found)

        await until(told, timeout=DEADLINE, what=f"{reason} of {name}", pause=0.01)
        return found[0]

    async def allocatable_cpu(self) -> int:
        """Millicores that pods may take in all."""
        node = await self.call("GET", f"/api/v1/nodes/{self.cluster.node}")
        text = node["status"]["allocatable"]["cpu"]
        return int(text[:-1]) if text.endswith("m") else int(text) * 1000


def condition(seen: Document, type_: str = names.RESOURCES_IN_SYNC) -> dict[str, Any]:
    """One condition of a pod; all its fields are empty while it has none."""
    empty = dict.fromkeys(("status", "reason", "message", "lastTransitionTime"), "")
    found = [each for each in seen.get("status", {}).get("conditions", []) if each["type"] == type_]
    return empty | found[0] if found else empty


def ids(seen: Document) -> dict[str, str]:
    """The running containers of a pod."""
    return {each["name"]: each["containerID"] for each in seen["status"]["containerStatuses"]}


def _resources(seen: Document) -> Sequence[Any]:
    return [each.get("resources") for each in seen.get("spec", {}).get("containers", [])]


@asynccontextmanager
async def resizing_node(**settings: str) -> AsyncIterator[ResizingNode]:
    """A node with an agent, removed at the end. Settings are flags of the agent with _ for -."""
    flags = {name.replace("_", "-"): value for name, value in settings.items()}
    node = ResizingNode(Cluster(session.current_session().new_directory("k")), flags)
    try:
        await node.start()
        yield node
    finally:
        await node.stop()


def text_of(path: Path) -> str:
    """What a file of a cgroup says."""
    return path.read_text().strip()


async def reads(path: Path, value: str, *, timeout: float = 10.0) -> float:
    """Wait until a file says *value*; the answer is the monotonic time at which it did."""
    deadline = time.monotonic() + timeout
    while (said := text_of(path)) != value:
        if time.monotonic() > deadline:
            raise session.TestbedError(f"{path} says {said}, not {value}")
        await asyncio.sleep(0.001)
    return time.monotonic()
