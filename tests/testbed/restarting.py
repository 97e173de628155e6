"""Pods whose containers are to be restarted in place: they count their own starts, on a real kubelet.

The count is kept in a volume of the pod, which survives its containers; the test reads it on the node, since
nothing else tells how often a container really started, and with which environment.
"""

import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.charts.fixtures import with_kinds
from tests.charts.rendering import render
from tests.testbed.api import PATCHES, Api
from tests.testbed.cluster import Cluster
from tests.testbed.pod_agent import PodAgent
from tests.testbed.processes import Process, until
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.session import TestbedError, current_session

NAMESPACE: Final = "inplaced"
PATIENCE: Final = 60.0
PAUSE: Final = 0.02
_RIGHTS: Final = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
_SCRIPT: Final = """
busybox awk '{printf "%s ", $1}' /proc/uptime >> /count/$NAME-starts
echo "$COLOUR" >> /count/$NAME-starts
trap 'busybox awk "{print \\$1}" /proc/uptime >> /count/$NAME-terms; exit 0' TERM
while :; do sleep 3600 & wait; done
"""
OPTED_IN: Final = {"inplaced.dev/restart-on-metadata-change": "true"}


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a container."""

    at: float
    """Seconds since the machine's boot, in hundredths."""
    colour: str
    """The variable as the container had it."""


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

    async def delete(self, *names: str) -> None:
        """Remove pods at once."""
        for name in names:
            async with self.client.delete(
                f"/api/v1/namespaces/default/pods/{name}", json={"gracePeriodSeconds": 0}
            ) as answer:
                await answer.read()

    def starts(self, pod: Mapping[str, Any], container: str = "app") -> list[Start]:
        """Every start of a container of that pod, as it counted them itself."""
        lines = self._lines(pod, f"{container}-starts")
        return [Start(float(at), colour) for at, _, colour in (line.partition(" ") for line in lines)]

    def terms(self, pod: Mapping[str, Any], container: str = "app") -> list[float]:
        """When the container was asked to end, each time, in seconds since boot."""
        return [float(line) for line in self._lines(pod, f"{container}-terms")]

    def _lines(self, pod: Mapping[str, Any], file: str) -> list[str]:
        volumes = self.cluster.kubelet.root / "pods" / pod["metadata"]["uid"] / "volumes"
        path = volumes / "kubernetes.io~empty-dir" / "count" / file
        return path.read_text().splitlines() if path.exists() else []

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
        """Wait until it has been restarted that often by plan, and all is in sync and told."""
        return await self.until(name, lambda pod: is_settled(pod, count), f"{count} restarts", timeout)


def boot_time() -> float:
    """What /proc/uptime counts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def condition(pod: Mapping[str, Any], type_: str = "inplaced.dev/ContainersInSync") -> dict[str, Any]:
    """A condition of the pod, empty when it has none of that type."""
    every: list[dict[str, Any]] = pod.get("status", {}).get("conditions", [])
    return next((each for each in every if each["type"] == type_), {})


def planned(pod: Mapping[str, Any], container: str = "app") -> int:
    """How many restarts the pod says were asked for."""
    told = pod["metadata"].get("annotations", {}).get("inplaced.dev/planned-restarts", "{}")
    return int(json.loads(told).get(container, 0))


def restart_count(pod: Mapping[str, Any], container: str = "app") -> int:
    """As the kubelet counts."""
    statuses = pod["status"].get("containerStatuses", [])
    return next((each["restartCount"] for each in statuses if each["name"] == container), 0)


def is_settled(pod: Mapping[str, Any], count: int) -> bool:
    """Whether *count* restarts are done and told."""
    return (
        planned(pod) >= count
        and restart_count(pod) >= count
        and condition(pod).get("status") == "True"
        and "inplaced.dev/restart-granted" not in pod["metadata"]["annotations"]
    )


def counting(
    name: str,
    image: str,
    *,
    annotations: Mapping[str, str] | None = None,
    owner: Mapping[str, Any] | None = None,
    containers: Sequence[Mapping[str, Any]] = (),
    spec: Mapping[str, Any] | None = None,
    env: Sequence[Mapping[str, Any]] = (),
    container: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A pod whose container "app" has COLOUR from the annotation "colour" and counts its starts."""
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {"app": name},
        "annotations": {"colour": "red", **OPTED_IN, **(annotations or {})},
    }
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            "dnsPolicy": "Default",
            "containers": [
                {**counter("app", image, env), **(container or {})},
                *containers,
            ],
            "volumes": [{"name": "count", "emptyDir": {}}],
            **(spec or {}),
        },
    }


def counter(name: str, image: str, env: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A container that counts its starts."""
    return {
        "name": name,
        "image": image,
        "command": ["sh", "-c", _SCRIPT],
        "env": [
            {"name": "NAME", "value": name},
            {
                "name": "COLOUR",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['colour']"}},
            },
            *env,
        ],
        "volumeMounts": [{"name": "count", "mountPath": "/count"}],
    }


@asynccontextmanager
async def restarting(
    cluster: Cluster, *, settings: Mapping[str, str] | None = None, strategy: str = "image-alias"
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
    central = api.with_token(await api.token_for(NAMESPACE, "inplaced-controller"))
    centre = Centre(directory / "c", central, {"restart-strategy": strategy})
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
