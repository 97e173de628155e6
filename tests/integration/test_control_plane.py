"""The test bed's API server: what tests of the product lean on."""

import asyncio
from pathlib import Path

import pytest

from tests.charts.rendering import of_kind
from tests.testbed.accounts import as_pod_on, existing_api, make_account
from tests.testbed.api import Api, RefusedError
from tests.testbed.cluster_fixtures import MakeControlPlane
from tests.testbed.processes import until
from tests.testbed.programs import kubernetes_programs
from tests.testbed.session import TestbedError

REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def test_an_administrator_may_do_all(control_plane: Api) -> None:
    answer = await control_plane.kubectl("auth", "can-i", "*", "*", "--all-namespaces")

    assert answer.strip() == "yes"


async def test_objects_are_applied_and_read(control_plane: Api) -> None:
    await control_plane.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "b"}}
    )

    read = await control_plane.get("/api/v1/namespaces/default/configmaps/applied")
    assert read["data"] == {"a": "b"}


async def test_a_refusal_tells_status_and_reason(control_plane: Api) -> None:
    with pytest.raises(RefusedError, match="not found") as caught:
        await control_plane.get("/api/v1/namespaces/default/configmaps/absent")

    assert caught.value.status == 404


async def test_a_cluster_that_is_named_is_used_unless_our_kinds_are_somebody_s(
    make_control_plane: MakeControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = (await make_control_plane()).api
    monkeypatch.setenv("KUBECONFIG", str(theirs.kubeconfig))

    empty = await existing_api(tmp_path)
    assert (await empty.kubectl("auth", "can-i", "*", "*")).strip() == "yes"
    crd = of_kind("CustomResourceDefinition")[0]
    owned = {"name": crd["metadata"]["name"], "annotations": {"meta.helm.sh/release-name": "kruise"}}
    await theirs.apply({**crd, "metadata": owned})

    with pytest.raises(
        TestbedError, match=f"{owned['name']} of the release kruise, which tests would change"
    ):
        await existing_api(tmp_path)


async def test_programs_that_envtest_has_already_are_used(
    make_control_plane: MakeControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = tmp_path / "used"
    for name in ("etcd", "kube-apiserver", "kubectl"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} >>{used}\nexec {kubernetes_programs()[name]} "$@"\n')
        program.chmod(0o700)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    api = (await make_control_plane()).api
    said = await api.kubectl("get", "namespace", "default", "--output=name")

    assert said.strip() == "namespace/default"
    assert set(used.read_text().split()) == {"etcd", "kube-apiserver", "kubectl"}
    (tmp_path / "etcd").unlink()
    with pytest.raises(TestbedError, match=f"KUBEBUILDER_ASSETS has no etcd: {tmp_path}"):
        await make_control_plane()


async def test_a_pod_s_token_names_its_pod_and_node(control_plane: Api) -> None:
    agent = await as_pod_on(control_plane, "claims", "agent", "node-a")

    seen = await agent.request("POST", REVIEWS, REVIEW)

    user = seen["status"]["userInfo"]
    assert user["username"] == "system:serviceaccount:claims:agent"
    assert user["extra"]["authentication.kubernetes.io/node-name"] == ["node-a"]
    assert user["extra"]["authentication.kubernetes.io/pod-name"][0].endswith("node-a")


async def test_a_token_may_do_nothing_that_it_was_not_given(control_plane: Api) -> None:
    agent = await as_pod_on(control_plane, "claims", "agent", "node-a")

    with pytest.raises(RefusedError, match='cannot list resource "secrets"') as caught:
        await agent.get("/api/v1/secrets")

    assert caught.value.status == 403


async def test_a_node_s_token_names_its_node(control_plane: Api) -> None:
    await make_account(control_plane, "claims", "agent")
    node = await control_plane.create_if_missing("/api/v1/nodes", {"metadata": {"name": "node-b"}})
    bound = {"apiVersion": "v1", "kind": "Node", **node}
    agent = control_plane.with_token(await control_plane.token_for("claims", "agent", bound_to=bound))

    seen = await agent.request("POST", REVIEWS, REVIEW)

    assert seen["status"]["userInfo"]["extra"]["authentication.kubernetes.io/node-name"] == ["node-b"]


async def test_a_kubeconfig_of_a_token_works_for_programs(control_plane: Api) -> None:
    agent = await as_pod_on(control_plane, "claims", "agent", "node-a")

    shown = await agent.kubectl("auth", "whoami", "--output=jsonpath={.status.userInfo.username}")

    assert shown == "system:serviceaccount:claims:agent"


async def test_what_is_stored_outlives_both_servers(make_control_plane: MakeControlPlane) -> None:
    own = await make_control_plane()
    await own.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "kept"}})

    await own.stop_apiserver()
    await own.restart_etcd()
    with pytest.raises(OSError, match="Cannot connect"):
        await own.api.get("/api/v1/namespaces/kept")
    await own.start_apiserver()

    assert (await own.api.get("/api/v1/namespaces/kept"))["status"]["phase"] == "Active"


async def test_two_control_planes_know_nothing_of_each_other(
    control_plane: Api, make_control_plane: MakeControlPlane
) -> None:
    own = await make_control_plane()
    await own.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "only-here"}})

    with pytest.raises(RefusedError, match="not found"):
        await control_plane.get("/api/v1/namespaces/only-here")


async def test_a_watch_is_served(control_plane: Api) -> None:
    path = "/api/v1/configmaps?watch=1&fieldSelector=metadata.name=watched"
    async with control_plane.session() as session, session.get(path) as watch:
        await control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "watched"}})
        line = await asyncio.wait_for(watch.content.readline(), 10.0)

    assert b'"type":"ADDED"' in line


async def test_flags_are_passed_on(make_control_plane: MakeControlPlane) -> None:
    own = await make_control_plane(runtime_config="batch/v1=false")

    groups = await own.api.get("/apis")

    assert "batch" not in {group["name"] for group in groups["groups"]}


async def test_etcd_restarts_under_a_running_api_server(make_control_plane: MakeControlPlane) -> None:
    own = await make_control_plane()

    await own.restart_etcd()

    async def written() -> bool:
        try:
            await own.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after"}})
        except TestbedError:  # Its connection to the store is not back yet.
            return False
        return True

    await until(written, timeout=30.0, what="a write after the restart", pause=0.1)
    assert await own.api.get("/api/v1/namespaces/default/configmaps/after")
