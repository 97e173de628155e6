"""Helm brings the release to a real API server, changes it and takes it away. No node, so nothing runs."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio
import yaml

from daemon import names
from tests.charts.fixtures import served
from tests.charts.rendering import (
    CHART,
    EVERYTHING,
    NAMESPACE,
    RELEASE,
    Document,
    helm,
    of_kind,
    render,
    the,
)
from tests.testbed.accounts import make_account
from tests.testbed.api import Api
from tests.testbed.cluster_fixtures import MakeControlPlane
from tests.testbed.session import TestbedError

INSTALLED = "STATUS: deployed"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def run_helm(api: Api, *arguments: str) -> str:
    return await asyncio.to_thread(
        helm, *arguments, "--namespace", NAMESPACE, "--kubeconfig", str(api.kubeconfig)
    )


@pytest_asyncio.fixture
async def empty(make_control_plane: MakeControlPlane) -> Api:
    """An API server that has never seen the chart."""
    return (await make_control_plane()).api


async def install(api: Api, *further: str) -> str:
    return await run_helm(api, "install", RELEASE, str(CHART), "--create-namespace", *further)


async def test_a_release_comes_changes_and_goes(empty: Api) -> None:
    assert INSTALLED in await install(empty)
    job = {
        "apiVersion": names.KRUISE_API,
        "kind": "ImagePullJob",
        "metadata": {"name": "kept"},
        "spec": {"image": "a"},
    }
    await empty.apply(job)

    upgraded = await run_helm(empty, "upgrade", RELEASE, str(CHART), "--set", "controller.replicas=3")
    deployment = await empty.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/inplaced-controller")
    await run_helm(empty, "uninstall", RELEASE)
    left = await empty.kubectl("get", "pj", "--output=name")
    roles = await empty.kubectl("get", "clusterroles,validatingadmissionpolicies", "--output=name")

    assert INSTALLED in upgraded
    assert deployment["spec"]["replicas"] == 3
    assert left.split() == [f"imagepulljob.{names.KRUISE_GROUP}/kept"]
    assert [role for role in roles.split() if "inplaced" in role] == []


async def test_a_release_takes_up_the_kinds_that_one_before_left(empty: Api) -> None:
    await install(empty)
    await run_helm(empty, "uninstall", RELEASE)
    await _gone(empty, f"{NAMESPACE}-node-secrets")

    assert INSTALLED in await install(empty)


async def _gone(api: Api, namespace: str) -> None:
    # Nobody finishes its removal where there is no controller of namespaces.
    await api.kubectl(
        "replace", "--raw", f"/api/v1/namespaces/{namespace}/finalize", "-f", "-", stdin=_final(namespace)
    )


def _final(namespace: str) -> str:
    return f'{{"apiVersion": "v1", "kind": "Namespace", "metadata": {{"name": "{namespace}"}}, "spec": {{}}}}'


async def test_what_is_said_after_an_installation_names_the_next_command(empty: Api) -> None:
    said = await install(empty)

    assert f"kubectl -n {NAMESPACE} rollout status daemonset/inplaced-agent" in said
    assert "kubectl -n default wait --for=condition=Ready imagepulljob/first" in said


async def test_what_is_left_to_openkruise_is_said_and_missed_where_it_is_not_there(empty: Api) -> None:
    left = ("--set", "crds.install=false,controller.enabled=false")
    missed = "This API server does not serve them: install OpenKruise"
    alone = await install(empty, *left)
    await empty.apply(*map(_as_somebody_else_s, of_kind("CustomResourceDefinition")))
    await served(empty, the("CustomResourceDefinition", f"nodeimages.{names.KRUISE_GROUP}"), "v1beta1")

    beside = await run_helm(empty, "upgrade", RELEASE, str(CHART), *left)

    assert missed in alone
    assert "jobs stay as they are unless OpenKruise's manager takes them up" in alone
    assert missed not in beside


async def test_the_example_in_the_notes_is_right(empty: Api) -> None:
    said = await install(empty)

    manifest = said.split("<<EOF\n")[1].split("  EOF\n")[0]
    accepted = await empty.kubectl("create", "--dry-run=server", "--output=name", "-f", "-", stdin=manifest)

    assert accepted.strip() == f"imagepulljob.{names.KRUISE_GROUP}/first"


async def test_kinds_of_openkruise_are_not_taken_over(empty: Api) -> None:
    crds = [each for each in render() if each["kind"] == "CustomResourceDefinition"]
    theirs = [each for each in crds if each["spec"]["group"] == names.KRUISE_GROUP]
    await empty.apply(*map(_as_somebody_else_s, theirs))

    with pytest.raises(Exception, match="cannot be imported into the current release"):
        await install(empty)
    assert INSTALLED in await install(empty, "--set", "crds.install=false")


def _as_somebody_else_s(crd: Document) -> Mapping[str, Any]:
    return {**crd, "metadata": {"name": crd["metadata"]["name"]}}


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it is", "everything"])
async def test_the_api_server_finds_every_document_right(kinds: Api, values: Mapping[str, Any]) -> None:
    documents = [each for each in render(values) if "monitoring.coreos.com" not in each["apiVersion"]]
    for namespace in {each["metadata"].get("namespace") for each in documents} - {None}:
        await make_account(kinds, namespace, "default")
    await make_account(kinds, NAMESPACE, "inplaced-trial")

    applied = await kinds.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=yaml.safe_dump_all(documents),
    )

    assert len(applied.splitlines()) == len(documents)


async def test_a_release_takes_over_the_kinds_of_openkruises(empty: Api) -> None:
    """Its conversion, which would ask its webhook, is taken from them before: Helm would leave that there."""
    theirs = [as_of_openkruise(each) for each in of_kind("CustomResourceDefinition")]
    for each in theirs:
        await empty.request("POST", DEFINITIONS, each)
    with pytest.raises(TestbedError, match="invalid ownership metadata"):
        await install(empty)

    alone = [{"op": "replace", "path": "/spec/conversion", "value": {"strategy": "None"}}]
    for each in theirs:
        await empty.request("PATCH", f"{DEFINITIONS}/{each['metadata']['name']}", alone, patch="json")
    installed = await install(empty, "--take-ownership")
    sets = await empty.get(f"{DEFINITIONS}/clonesets.{names.KRUISE_GROUP}")

    assert INSTALLED in installed
    assert sets["metadata"]["annotations"]["meta.helm.sh/release-name"] == RELEASE
    assert sets["spec"]["conversion"] == {"strategy": "None"}


def as_of_openkruise(definition: Document) -> Document:
    """That kind as another release has installed it, with a webhook for its versions."""
    webhook = {
        "conversionReviewVersions": ["v1", "v1beta1"],
        "clientConfig": {"service": {"name": "kruise-webhook-service", "namespace": "kruise-system"}},
    }
    owned = {"meta.helm.sh/release-name": "kruise", "meta.helm.sh/release-namespace": "default"}
    metadata = {
        "name": definition["metadata"]["name"],
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": owned,
    }
    conversion = {"strategy": "Webhook", "webhook": webhook}
    return {**definition, "metadata": metadata, "spec": {**definition["spec"], "conversion": conversion}}
