"""The manifests of the talk "Inplace-update: the past, present and future" (KubeCon China 2024) as they are.

Only what its slides leave out is added: names, selectors, images.
"""

import zlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
import yaml

from daemon import names
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting
from tests.testbed.sets import PODS, RealSet, condition, identity, make_images, status_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

GRACE = """
apiVersion: apps.kruise.io/v1alpha1
kind: CloneSet
spec:
  # ...
  updateStrategy:
    type: InPlaceIfPossible
    inplaceUpdateStrategy:
      gracePeriodSeconds: 10
"""
ENVIRONMENT = """
apiVersion: apps.kruise.io/v1alpha1
kind: CloneSet
spec:
  template:
    metadata:
      annotations:
        app-config: "... the real env value ..."
    spec:
      containers:
        - name: app
          image: app-image:v1
          env:
            - name: APP_CONFIG
              valueFrom:
                fieldRef:
                  fieldPath: metadata.annotations['app-config']
"""
HOOKS = """
apiVersion: apps.kruise.io/v1alpha1
kind: CloneSet
spec:
  lifecycle:
    inplaceUpdate:
      markPodNotReady: true
    preDelete:
      finalizersHandler:
        - example.io/unready-blocker
    preNormal:
      finalizersHandler:
        - example.io/unready-blocker
"""
BLOCKER = "example.io/unready-blocker"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def images(bed: Restarting) -> tuple[str, str]:
    """Two images that differ."""
    return await make_images(bed.cluster)


@pytest_asyncio.fixture(loop_scope="session")
async def web(bed: Restarting, prefix: str) -> AsyncIterator[RealSet]:
    """A set of a name of its own, removed in the end."""
    made = RealSet(bed.api, f"talk-{zlib.crc32(prefix.encode()):x}")
    yield made
    await made.discard()


def shown(web: RealSet, slide: str, image: str) -> dict[str, Any]:
    """The manifest of a slide, with a name, a selector, an image, and pods that end at once."""
    document: dict[str, Any] = yaml.safe_load(slide)
    document["metadata"] = {"name": web.name, "namespace": "default"}
    spec = document["spec"]
    spec["selector"] = {"matchLabels": {"app": web.name}}
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})["labels"] = {"app": web.name}
    pod = template.setdefault("spec", {"containers": [{"name": "app"}]})
    pod["terminationGracePeriodSeconds"] = 1
    for container in pod["containers"]:
        container["image"] = image
    return document


async def test_the_grace_period_of_the_first(web: RealSet, images: tuple[str, str]) -> None:
    await web.apply(shown(web, GRACE, images[0]))
    await web.settled()
    (before,) = await web.pods()

    await web.set_image(images[1])
    (out,) = await _until(web, lambda pod: condition(pod, names.IN_PLACE_UPDATE_READY)["status"] == "False")
    (after,) = await _until(web, lambda pod: status_of(pod)["restartCount"] == 1)
    await web.settled()

    taken_out = _time(condition(out, names.IN_PLACE_UPDATE_READY)["lastTransitionTime"])
    started = _time(status_of(after)["state"]["running"]["startedAt"])
    assert identity(after) == identity(before)
    assert 9 <= (started - taken_out).total_seconds() <= 16


async def test_the_environment_of_the_second(bed: Restarting, web: RealSet, images: tuple[str, str]) -> None:
    document = shown(web, ENVIRONMENT, images[0])
    document["spec"]["updateStrategy"] = {"type": "InPlaceIfPossible"}
    await web.apply(document)
    await web.settled()
    (before,) = await web.pods()

    await web.patch(template={"metadata": {"annotations": {"app-config": "another"}}})
    await web.settled()
    (after,) = await web.pods()
    command = ("sh", "-c", "echo $APP_CONFIG")
    told = await bed.api.kubectl("exec", after["metadata"]["name"], "--", *command)

    assert identity(after) == identity(before)
    assert (told.strip(), status_of(after)["restartCount"]) == ("another", 1)


async def test_the_hooks_of_the_third(bed: Restarting, web: RealSet, images: tuple[str, str]) -> None:
    document = shown(web, HOOKS, images[0])
    document["spec"]["updateStrategy"] = {"type": "InPlaceIfPossible"}
    await web.apply(document)
    (new,) = await _until(web, lambda pod: condition(pod, names.READY).get("status") == "True")
    name = new["metadata"]["name"]
    before = (await web.stored())["status"].get("availableReplicas", 0)

    await _finalizers(bed, name, [BLOCKER])
    await web.settled()
    await web.set_image(images[1])
    await web.settled()
    await web.patch(replicas=0)
    state = "jsonpath={.metadata.labels.lifecycle\\.apps\\.kruise\\.io/state}"
    await bed.api.kubectl("wait", f"pod/{name}", f"--for={state}=PreparingDelete", "--timeout=30s")
    (held,) = await web.pods()
    await _finalizers(bed, name, [])
    await web.settled()

    assert before == 0, "a new pod counts when its finalizer is there"
    assert (identity(held), status_of(held)["restartCount"]) == (identity(new), 1)
    assert await web.pods() == []


async def _finalizers(bed: Restarting, name: str, wanted: list[str]) -> None:
    await bed.api.request("PATCH", f"{PODS}/{name}", {"metadata": {"finalizers": wanted}})


async def _until(web: RealSet, holds: Any) -> list[dict[str, Any]]:
    """The pods, as soon as there are some and all are so."""
    found: list[dict[str, Any]] = []

    async def so() -> bool:
        found[:] = [pod for pod in await web.pods() if status_of(pod)]
        return bool(found) and all(holds(pod) for pod in found)

    await until(so, timeout=60.0, what=f"pods of {web.name}", pause=0.05)
    return found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
