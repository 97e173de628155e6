"""What tests of an installed release ask of it, as its users would."""

from collections.abc import Mapping
from typing import Any, Final

from tests.testbed.api import Api
from tests.testbed.product import Installation
from tests.testbed.pushing import Image

JOBS: Final = "/apis/apps.kruise.io/v1beta1/namespaces/default/imagepulljobs"


def job(name: str, image: Image, **spec: Any) -> dict[str, Any]:
    """An ImagePullJob as people write it."""
    return {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "ImagePullJob",
        "metadata": {"name": name},
        "spec": {"image": image.ref, "completionPolicy": {"type": "Always"}, **spec},
    }


async def ended(api: Api, name: str) -> Mapping[str, Any]:
    """Wait until the job is ready, as kubectl tells, and return its status."""
    await api.kubectl("wait", "--for=condition=Ready", f"imagepulljob/{name}", "--timeout=60s")
    status: Mapping[str, Any] = (await api.get(f"{JOBS}/{name}"))["status"]
    return status


async def restarts(release: Installation) -> dict[str, int]:
    """How often each container of the project started again, by its pod's name."""
    pods = await release.cluster.api.get(f"/api/v1/namespaces/{release.namespace}/pods")
    return {
        pod["metadata"]["name"]: each["restartCount"]
        for pod in pods["items"]
        for each in pod["status"].get("containerStatuses", [])
    }
