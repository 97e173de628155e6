"""Tokens as pods hold them, and access to a cluster that somebody else made."""

import base64
import itertools
import json
from pathlib import Path
from typing import Any, Final

from daemon import names
from tests.testbed.api import Api, run
from tests.testbed.authority import Credentials
from tests.testbed.programs import kubernetes_programs
from tests.testbed.session import TestbedError

_numbers = itertools.count(1)
IMAGE: Final = "registry.test/never-run:1"


async def make_account(api: Api, namespace: str, account: str) -> None:
    """Make a service account and its namespace, where they are missing."""
    await api.create_if_missing("/api/v1/namespaces", {"metadata": {"name": namespace}})
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await api.create_if_missing(path, {"metadata": {"name": account}})


async def make_bound_pod(api: Api, namespace: str, account: str, node: str) -> dict[str, Any]:
    """Make a pod of *account* that says to be on *node*, where nothing needs to run it, and return it."""
    body = {
        "metadata": {"name": f"holder-{next(_numbers)}-{node}"},
        "spec": {
            "serviceAccountName": account,
            "nodeName": node,
            "containers": [{"name": "holder", "image": IMAGE}],
        },
    }
    made: dict[str, Any] = await api.request("POST", f"/api/v1/namespaces/{namespace}/pods", body)
    return made


async def as_pod_on(api: Api, namespace: str, account: str, node: str) -> Api:
    """The API as a pod of *account* on *node* sees it: its token names both pod and node.

    Makes what is missing of namespace, account and Node object; of rights the account has none here.
    """
    await make_account(api, namespace, account)
    await api.create_if_missing("/api/v1/nodes", {"metadata": {"name": node}})
    pod = await make_bound_pod(api, namespace, account, node)
    return api.with_token(await api.token_for(namespace, account, bound_to=pod))


async def existing_api(directory: Path) -> Api:
    """Access by the kubeconfig that $KUBECONFIG names, without its exec plugins; files go to *directory*.

    Raises TestbedError where our kinds are somebody's: tests would replace them, and leave objects behind.
    """
    kubectl = kubernetes_programs()["kubectl"]
    shown = await run([kubectl, "config", "view", "--raw", "--minify", "--flatten", "--output=json"])
    document = json.loads(shown)
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    if "certificate-authority-data" not in cluster:
        raise TestbedError("the cluster of $KUBECONFIG names no certificate authority")
    files = {
        "ca": cluster["certificate-authority-data"],
        "certificate": user.get("client-certificate-data", ""),
        "key": user.get("client-key-data", ""),
    }
    paths = {name: _write(directory / f"{name}.pem", content) for name, content in files.items()}
    credentials = Credentials(paths["certificate"], paths["key"]) if files["key"] else None
    api = Api(
        url=cluster["server"].rstrip("/"),
        ca=paths["ca"],
        kubeconfig=directory / "kubeconfig",
        credentials=credentials,
        token=user.get("token", ""),
    )
    api.write_kubeconfig()
    await _check_unused(api)
    return api


async def _check_unused(api: Api) -> None:
    listed = await api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    for each in listed["items"]:
        release = each["metadata"].get("annotations", {}).get("meta.helm.sh/release-name")
        if release and each["spec"]["group"] in {names.KRUISE_GROUP, names.OWN_GROUP}:
            raise TestbedError(
                f"the cluster of $KUBECONFIG has {each['metadata']['name']} of the release {release}, "
                "which tests would change: name an empty cluster, or unset KUBECONFIG to have one made"
            )


def _write(path: Path, encoded: str) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(base64.b64decode(encoded))
    return path
