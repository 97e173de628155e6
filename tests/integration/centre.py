"""The central controller in the test's own process, with the rights that the chart gives to its account."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import yaml

from daemon.config import ControllerConfig
from daemon.controller import CentralController
from daemon.kube.kubeconfig import Kubeconfig
from tests.charts.fixtures import with_kinds
from tests.charts.rendering import CHART, KUBERNETES, Document, helm
from tests.testbed.api import Api
from tests.testbed.programs import kubernetes_minor

NAMESPACE: Final = "inplaced"
ACCOUNT: Final = "inplaced-controller"
STOP_DEADLINE: Final = 30.0
_RIGHTS: Final = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
_POLICIES: Final = ("MutatingAdmission", "ValidatingAdmission")


def release_documents(*served: str) -> list[Document]:
    """The release where the API server also serves the kinds *served*."""
    further = [word for kind in served for word in ("--api-versions", kind)]
    where = (NAMESPACE, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBERNETES)
    return [each for each in yaml.safe_load_all(helm("template", *where, *further)) if each]


async def account_of(api: Api) -> Api:
    """The cluster as the controller's account sees it, after kinds, rights and policies are there."""
    await with_kinds(api)
    version = "v1beta1" if kubernetes_minor() == "1.34" else "v1"
    documents = release_documents(f"admissionregistration.k8s.io/{version}/MutatingAdmissionPolicy")
    for name in (NAMESPACE, f"{NAMESPACE}-node-secrets"):
        await api.create_if_missing("/api/v1/namespaces", {"metadata": {"name": name}})
    wanted = [each for each in documents if each["kind"] in _RIGHTS or each["kind"].startswith(_POLICIES)]
    await api.apply(
        *(each for each in wanted if "helm.sh/hook" not in each["metadata"].get("annotations", {}))
    )
    return api.with_token(await api.token_for(NAMESPACE, ACCOUNT))


@asynccontextmanager
async def leading(api: Api, identity: str = "centre") -> AsyncIterator[CentralController]:
    """Run a controller that reaches the cluster as *api* does."""
    config = ControllerConfig(identity=identity, listen="", namespace=NAMESPACE)
    candidate = CentralController(config, Kubeconfig(api.kubeconfig))
    stop = asyncio.Event()
    task = asyncio.create_task(candidate.run(stop))
    try:
        yield candidate
    finally:
        stop.set()
        async with asyncio.timeout(STOP_DEADLINE):
            await task


def started_at(pod: Document) -> dict[str, str]:
    """Since when each container of a pod runs."""
    statuses: Sequence[dict[str, Any]] = pod["status"].get("containerStatuses", [])
    return {
        each["name"]: each["state"]["running"]["startedAt"] for each in statuses if "running" in each["state"]
    }
