"""CloneSets on a real cluster: written, watched, and compared with what they were."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon import names
from tests.testbed.api import Api, RefusedError
from tests.testbed.cluster import Cluster
from tests.testbed.processes import until
from tests.testbed.pushing import ImageMaker

SETS = f"/apis/{names.KRUISE_API}/namespaces/default/clonesets"
PODS = "/api/v1/namespaces/default/pods"
OBEDIENT = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]
"""Ends as soon as it is told to."""
DEADLINE = 60.0
AT_REST = 4.0
"""Seconds for which pods are ready before what is measured of a change begins."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RealSet:
    """One CloneSet of the cluster, whose pods have its name as a label."""

    api: Api
    name: str

    def document(
        self, containers: Sequence[Mapping[str, Any]], version: str = "v1beta1", **spec: Any
    ) -> Document:
        """The manifest, with pods that end at once."""
        labels = {"app": self.name}
        template = spec.pop("template", {})
        metadata = {"labels": labels, **template.get("metadata", {})}
        pod = {"terminationGracePeriodSeconds": 1, "containers": list(containers), **template.get("spec", {})}
        return {
            "apiVersion": f"{names.KRUISE_GROUP}/{version}",
            "kind": "CloneSet",
            "metadata": {"name": self.name, "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": metadata, "spec": pod},
                **spec,
            },
        }

    async def apply(self, document: Document) -> None:
        """Write it as a person does."""
        await self.api.apply(document)

    async def patch(self, **spec: Any) -> None:
        """Change parts of its spec."""
        await self.api.request("PATCH", f"{SETS}/{self.name}", {"spec": spec})

    async def set_image(self, image: str, container: str = "app") -> None:
        """Have that container run another image."""
        containers = (await self.stored())["spec"]["template"]["spec"]["containers"]
        changed = [{**each, "image": image} if each["name"] == container else each for each in containers]
        await self.patch(template={"spec": {"containers": changed}})

    async def stored(self) -> Document:
        """The set as it is stored."""
        found: Document = await self.api.get(f"{SETS}/{self.name}")
        return found

    async def pods(self) -> list[Document]:
        """Its pods that are not on their way out, by name."""
        found = (await self.api.get(f"{PODS}?labelSelector=app={self.name}"))["items"]
        live = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(live, key=lambda pod: str(pod["metadata"]["name"]))

    async def settled(self, timeout: float = DEADLINE) -> Document:
        """Wait until it is ready in its newest form; return the status that says so."""
        stored: Document = {}

        async def ready() -> bool:
            stored.update(await self.stored())
            told = condition(stored, names.READY)
            newest = stored["metadata"]["generation"]
            return told.get("status") == "True" and told.get("observedGeneration") == newest

        try:
            await until(ready, timeout=timeout, what=f"{self.name} to be ready", pause=0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {stored.get('status')}") from error
        status: Document = stored["status"]
        return status

    async def at_rest(self) -> None:
        """Wait until all pods are ready for so long that no kubelet has still to tell how they became so."""

        async def all_told() -> bool:
            since = [condition(pod, names.READY)["lastTransitionTime"] for pod in await self.pods()]
            return time.time() - max(datetime.fromisoformat(each).timestamp() for each in since) > AT_REST

        await until(all_told, timeout=DEADLINE, what=f"{self.name} to be ready for a while", pause=0.2)

    async def says(self, type_: str, status: str, timeout: float = DEADLINE) -> Document:
        """Wait for a condition and return it."""

        async def told() -> bool:
            return condition(await self.stored(), type_).get("status") == status

        await until(told, timeout=timeout, what=f"{type_}={status} of {self.name}", pause=0.05)
        return condition(await self.stored(), type_)

    async def delete(self) -> None:
        """Remove it, have the garbage collector remove its pods, and return when they are gone.

        The collector learns of a kind up to half a minute after the kind was made.
        """
        await self.api.kubectl("delete", "cloneset", self.name, "--ignore-not-found", "--cascade=foreground")

        async def gone() -> bool:
            return not (await self.api.get(f"{PODS}?labelSelector=app={self.name}"))["items"]

        await until(gone, timeout=DEADLINE, what=f"the pods of {self.name} to be gone", pause=0.1)

    async def discard(self) -> None:
        """Remove it and its pods at once, whatever holds them, and return when they are gone."""
        with suppress(RefusedError):  # it was removed before
            await self.api.request("DELETE", f"{SETS}/{self.name}", {"propagationPolicy": "Background"})

        async def gone() -> bool:
            return not await self._kill()

        await until(gone, timeout=DEADLINE, what=f"the pods of {self.name} to be gone", pause=0.1)

    async def _kill(self) -> list[Document]:
        """Delete its pods without grace, and return those that were there: more may be on their way."""
        found: list[Document] = (await self.api.get(f"{PODS}?labelSelector=app={self.name}"))["items"]
        for pod in found:
            name = pod["metadata"]["name"]
            if pod["metadata"].get("finalizers"):
                await self.api.request("PATCH", f"{PODS}/{name}", {"metadata": {"finalizers": None}})
            with suppress(RefusedError):  # it went meanwhile
                await self.api.request("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})
        return found


def condition(document: Mapping[str, Any], type_: str) -> Document:
    """A condition of the object; empty without."""
    found = document.get("status", {}).get("conditions", ())
    return next((each for each in found if each["type"] == type_), {})


def status_of(pod: Mapping[str, Any], container: str = "app") -> Document:
    """What the kubelet says of a container."""
    statuses = pod["status"].get("containerStatuses", ())
    return next((each for each in statuses if each["name"] == container), {})


def identity(pod: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a pod stays when it changes in place."""
    status = pod["status"]
    return (pod["metadata"]["uid"], status["podIP"], pod["spec"]["nodeName"], pod["spec"].get("volumes"))


async def timed(work: Any) -> float:
    """How many seconds *work* takes."""
    began = time.monotonic()
    await asyncio.wait_for(work, 2 * DEADLINE)
    return time.monotonic() - began


async def make_images(cluster: Cluster) -> tuple[str, str]:
    """Two images that differ, and end as soon as they are told to."""
    maker = ImageMaker(cluster.registry, "clonesets")
    first = await maker.make_runnable("app", OBEDIENT, tags=["v1"])
    second = await maker.make_runnable("app", [*OBEDIENT, "v2"], tags=["v2"])
    return first.ref, second.ref
