"""Agent and controller beside a real kubelet, for pods that are to be restarted in place."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.charts.fixtures import with_kinds
from tests.charts.rendering import render
from tests.testbed.api import PATCHES, Api
from tests.testbed.cluster import Cluster
from tests.testbed.counting import Start, condition, counting, deployment, is_settled
from tests.testbed.pod_agent import PodAgent
from tests.testbed.processes import Process, until
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.session import TestbedError, current_session

NAMESPACE: Final = "inplaced"
PATIENCE: Final = 60.0
PAUSE: Final = 0.02
QUIET: Final = 0.7
"""Seconds after the end of a restart within which a second one would have begun."""
PAGE: Final = "127.0.0.1:10299"
"""Where the agent of the shared bed shows its page."""
_RIGHTS: Final = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@dataclass(slots=True, eq=False)
class Centre:
    """`inplaced controller` as a process that may be killed."""

    directory: Path
    api: Api
    settings: Mapping[str, str] = field(default_factory=dict)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        flags = {
            "kubeconfig": str(self.api.kubeconfig),
            "namespace": NAMESPACE,
            "identity": self.directory.name,
            "listen": "",
            "log-format": "json",
            **self.settings,
        }
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = Process(
            [sys.executable, "-m", "daemon", "controller", *words], self.directory / "controller.log"
        )


@dataclass(slots=True, eq=False)
class Restarting:
    """A cluster whose agent and controller run as processes of the checkout, with the chart's rights."""

    cluster: Cluster
    agent: PodAgent
    centre: Centre
    image: Image
    client: aiohttp.ClientSession

    @property
    def api(self) -> Api:
        """As an administrator sees it."""
        return self.cluster.api

    async def start(self) -> None:
        """Start agent and controller, if they do not run."""
        if not self.centre.process.running:
            self.centre.process.start()
            await self.agent.start()

    async def stop(self) -> None:
        """Kill both."""
        await self.centre.process.kill()
        await self.agent.kill()

    async def patch(self, name: str, document: Mapping[str, Any], kind: str = "merge") -> float:
        """Patch a pod; the answer is when that was sent."""
        sent = boot_time()
        async with self.client.patch(
            f"/api/v1/namespaces/default/pods/{name}",
            json=document,
            headers={"Content-Type": PATCHES[kind]},
        ) as answer:
            if answer.status >= 400:
                raise TestbedError(f"patch {name}: {answer.status} {await answer.text()}")
        return sent

    async def annotate(self, name: str, **annotations: str | None) -> float:
        """Change annotations of a pod; the answer is when that was sent."""
        return await self.patch(name, {"metadata": {"annotations": annotations}})

    async def pod(self, name: str) -> dict[str, Any]:
        """As it is stored."""
        async with self.client.get(f"/api/v1/namespaces/default/pods/{name}") as answer:
            if answer.status >= 400:
                raise TestbedError(f"get {name}: {answer.status}")
            found: dict[str, Any] = await answer.json()
            return found

    async def create(self, name: str, **changes: Any) -> dict[str, Any]:
        """Make a pod that counts (see ``counting``)."""
        async with self.client.post(
            "/api/v1/namespaces/default/pods", json=counting(name, self.image.ref, **changes)
        ) as answer:
            if answer.status >= 400:
                raise TestbedError(f"create {name}: {answer.status} {await answer.text()}")
            made: dict[str, Any] = await answer.json()
            return made

    async def deploy(self, name: str, replicas: int, **changes: Any) -> list[str]:
        """Have a Deployment make such pods, and return their names when all are in sync."""
        body = deployment(name, self.image.ref, replicas, **changes)
        await self.api.request("POST", "/apis/apps/v1/namespaces/default/deployments", body)
        found: list[str] = []

        async def is_there() -> bool:
            pods = await self.labelled(name)
            found[:] = [each["metadata"]["name"] for each in pods]
            return len(pods) == replicas and all(condition(each).get("status") == "True" for each in pods)

        await until(is_there, timeout=PATIENCE, what=f"pods of {name}", pause=PAUSE)
        return found

    async def labelled(self, app: str) -> list[dict[str, Any]]:
        """The pods with that value of the label "app"."""
        path = f"/api/v1/namespaces/default/pods?labelSelector=app%3D{app}"
        async with self.client.get(path) as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items

    async def events(self, name: str) -> list[tuple[str, str, str]]:
        """Who reports what about a pod, and what is said."""
        path = f"/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3D{name}"
        async with self.client.get(path) as answer:
            items = (await answer.json())["items"]
        return [(each["reportingController"], each["reason"], each.get("note", "")) for each in items]

    async def delete(self, *names: str, grace: int = 0) -> None:
        """Have pods removed, within *grace* seconds."""
        for name in names:
            async with self.client.delete(
                f"/api/v1/namespaces/default/pods/{name}", json={"gracePeriodSeconds": grace}
            ) as answer:
                await answer.read()

    def starts(self, pod: Mapping[str, Any], container: str = "app") -> list[Start]:
        """Every start of a container of that pod, as it counted them itself."""
        lines = self.lines(pod, f"{container}-starts")
        return [Start(float(at), colour) for at, _, colour in (line.partition(" ") for line in lines)]

    async def colours(self, pod: Mapping[str, Any], container: str = "app") -> list[str]:
        """With what the container started each time, once nothing more happens."""
        await asyncio.sleep(QUIET)
        return [each.colour for each in self.starts(pod, container)]

    def terms(self, pod: Mapping[str, Any], container: str = "app") -> list[float]:
        """When the container was asked to end, each time, in seconds since boot."""
        return [float(line) for line in self.lines(pod, f"{container}-terms")]

    def lines(self, pod: Mapping[str, Any], file: str) -> list[str]:
        """What the containers of that pod wrote into a file of their volume."""
        path = self.directory(pod) / file
        text = path.read_text() if path.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()  # what is being written does not count yet

    def directory(self, pod: Mapping[str, Any]) -> Path:
        """Where that volume is on the node."""
        uid: str = pod["metadata"]["uid"]
        volumes = self.cluster.kubelet.root / "pods" / uid / "volumes"
        return volumes / "kubernetes.io~empty-dir" / "count"

    async def gone(self, name: str, timeout: float) -> None:
        """Wait until there is no such pod."""

        async def is_gone() -> bool:
            async with self.client.get(f"/api/v1/namespaces/default/pods/{name}") as answer:
                return answer.status == 404

        await until(is_gone, timeout=timeout, what=f"the end of {name}", pause=PAUSE)

    async def until(
        self, name: str, reached: Callable[[dict[str, Any]], object], what: str, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until the pod is so, and return it."""
        seen: dict[str, Any] = {}

        async def is_so() -> bool:
            seen.update(await self.pod(name))
            return bool(reached(seen))

        try:
            await until(is_so, timeout=timeout, what=f"pod {name}: {what}", pause=PAUSE)
        except TestbedError as error:
            told = json.dumps({key: seen.get(key) for key in ("metadata", "status")}, indent=1)
            raise TestbedError(f"{error}\n{told}\n{self.agent.log[-3000:]}") from error
        return seen

    async def in_sync(self, name: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until the agent says so."""
        return await self.until(name, lambda pod: condition(pod).get("status") == "True", "in sync", timeout)

    async def restarted(self, name: str, count: int, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until it has been restarted that often by plan, and all is in sync, told and counted."""

        def is_done(pod: dict[str, Any]) -> bool:
            # The program counts its start a little later than the kubelet tells it.
            return is_settled(pod, count) and len(self.lines(pod, "app-starts")) > count

        return await self.until(name, is_done, f"{count} restarts", timeout)


def boot_time() -> float:
    """What /proc/uptime counts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@asynccontextmanager
async def restarting(
    cluster: Cluster,
    *,
    settings: Mapping[str, str] | None = None,
    central: Mapping[str, str] | None = None,
) -> AsyncIterator[Restarting]:
    """Agent and controller of the checkout in *cluster*, until the end of the block."""
    api = cluster.api
    await with_kinds(api)
    for namespace in (NAMESPACE, f"{NAMESPACE}-node-secrets"):
        await api.create_if_missing("/api/v1/namespaces", {"metadata": {"name": namespace}})
    await api.apply(*_documents())
    image = await ImageMaker(cluster.registry, "restarts").make_runnable("app", tags=("v1", "v2"))
    token = await api.token_for(NAMESPACE, "inplaced-agent", bound_to=await _holder(api, cluster, image.ref))
    directory = cluster.directory / "restarts"
    agent = PodAgent(
        directory / "a",
        [cluster.containerd.socket],
        current_session().certificates,
        settings or {},
        api=api.with_token(token),
        node=cluster.node,
    )
    leader = api.with_token(await api.token_for(NAMESPACE, "inplaced-controller"))
    centre = Centre(directory / "c", leader, central or {})
    async with api.session() as client:
        try:
            centre.process.start()
            await agent.start()
            yield Restarting(cluster, agent, centre, image, client)
        finally:
            await agent.kill()
            await centre.process.kill()


def _documents() -> list[Mapping[str, Any]]:
    wanted = (*_RIGHTS, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    return [
        each
        for each in render()
        if each["kind"] in wanted and "helm.sh/hook" not in each["metadata"].get("annotations", {})
    ]


async def _holder(api: Api, cluster: Cluster, image: str) -> Mapping[str, Any]:
    """The pod that the agent's token is bound to: without it, the token is of no use on this node."""
    body = {
        "metadata": {"name": "agent-holder"},
        "spec": {
            "serviceAccountName": "inplaced-agent",
            "nodeName": cluster.node,
            "automountServiceAccountToken": False,
            "containers": [{"name": "holder", "image": image}],
            "terminationGracePeriodSeconds": 1,
        },
    }
    made: Mapping[str, Any] = await api.create_if_missing(f"/api/v1/namespaces/{NAMESPACE}/pods", body)
    return {"apiVersion": "v1", "kind": "Pod", **made}
