"""What the controller's account may do in a cluster, and what it may not."""

from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.charts.fixtures import install
from tests.testbed.accounts import make_account
from tests.testbed.api import Api
from tests.testbed.processes import until

RELEASE = "central"
CLOSED = "central-closed"
WORKLOADS = "central-sets"
NODE_SECRETS = f"{RELEASE}{names.NODE_SECRETS_SUFFIX}"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
GROUPS = {
    "imagepulljobs": names.KRUISE_GROUP,
    "imagelistpulljobs": names.KRUISE_GROUP,
    "nodeimages": names.KRUISE_GROUP,
    "containerrecreaterequests": names.KRUISE_GROUP,
    "leases": "coordination.k8s.io",
    "events": "events.k8s.io",
    "clusterrolebindings": "rbac.authorization.k8s.io",
    "workloadrestarts": names.OWN_GROUP,
    **dict.fromkeys(("deployments", "replicasets", "statefulsets", "daemonsets"), "apps"),
    "clonesets": names.KRUISE_GROUP,
    "controllerrevisions": "apps",
}

MAY = """
list imagepulljobs | watch imagepulljobs | create imagepulljobs default | delete imagepulljobs default
patch imagepulljobs default | patch imagepulljobs/status default | patch imagelistpulljobs/status default
delete imagelistpulljobs default
list nodeimages | create nodeimages | patch nodeimages | delete nodeimages
create containerrecreaterequests default
list workloadrestarts | watch workloadrestarts | patch workloadrestarts/status default
delete workloadrestarts default | get deployments default | get replicasets default | get statefulsets default
get daemonsets default | get clonesets default
list nodes | watch nodes | list pods | watch pods | create events default | patch events default
get secrets default | create secrets central-node-secrets | patch secrets central-node-secrets
delete secrets central-node-secrets | watch secrets central-node-secrets
get leases central | create leases central | patch leases central | watch leases central
delete leases central
list containerrecreaterequests | watch containerrecreaterequests | patch containerrecreaterequests default
patch containerrecreaterequests/status default | delete containerrecreaterequests default
patch pods default | patch pods/status default | get pods default
"""
FOR_WORKLOADS = """
list clonesets | watch clonesets | patch clonesets/status default | update clonesets/finalizers default
get controllerrevisions default | create controllerrevisions default | patch controllerrevisions default
delete controllerrevisions default | watch controllerrevisions
get pods default | create pods default | delete pods default
list persistentvolumeclaims | watch persistentvolumeclaims | create persistentvolumeclaims default
delete persistentvolumeclaims default
"""
NOT_EVEN_FOR_WORKLOADS = """
patch clonesets default | delete clonesets default | create clonesets default | update pods default
patch persistentvolumeclaims default | get persistentvolumeclaims default | create pods/exec default
create pods/eviction default | delete persistentvolumes
"""
MAY_NOT = """
update imagepulljobs default | create imagelistpulljobs default
patch imagelistpulljobs default | patch nodeimages/status | update nodeimages/status
list secrets | watch secrets | list secrets default | create secrets default | patch secrets default
delete secrets default | create secrets central | get leases default | patch leases kube-node-lease
create workloadrestarts default | patch workloadrestarts default | patch deployments default
delete replicasets default | create pods/exec default
patch nodes | patch nodes/status | create nodes/proxy | get nodes/proxy | delete nodes
create pods default | update pods default | delete pods default | update pods/status default
create pods/exec default | create pods/eviction default | get pods/log default
create serviceaccounts/token central | get configmaps central | patch daemonsets central
create clusterrolebindings | impersonate users | escalate clusterroles
"""


def words(text: str) -> list[str]:
    return [each.strip() for line in text.strip().splitlines() for each in line.split("|")]


async def allowed(api: Api, release: str, asked: str) -> bool:
    """Whether the controller's account of *release* may do what *asked* says: verb, resource, namespace."""
    verb, resource, *namespace = asked.split()
    plural, _, subresource = resource.partition("/")
    attributes = {
        "verb": verb,
        "group": GROUPS.get(plural, ""),
        "resource": plural,
        "subresource": subresource,
        "namespace": "".join(namespace),
        "name": "any",
    }
    account = f"system:serviceaccount:{release}:{release}-inplaced-controller"
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": account, "resourceAttributes": attributes},
    }
    answer: Mapping[str, Any] = await api.request("POST", REVIEWS, body)
    return bool(answer["status"]["allowed"])


async def installed(api: Api, release: str, last: str, values: Mapping[str, Any] | None = None) -> Api:
    """Install *release* and wait until its roles are in force, *last* among them."""
    await install(api, release, values)
    await until(
        lambda: allowed(api, release, last), timeout=30.0, what="the roles to be in force", pause=0.05
    )
    return api


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def release(kinds: Api) -> Api:
    """The release as it is."""
    return await installed(kinds, RELEASE, f"delete secrets {NODE_SECRETS}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closed(kinds: Api) -> Api:
    """The release with the Secrets of one namespace."""
    await make_account(kinds, "team", "default")
    values = {"controller": {"pullSecretNamespaces": ["team"]}}
    return await installed(kinds, CLOSED, "get secrets team", values)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def workloads(kinds: Api) -> Api:
    """The release that looks after CloneSets."""
    values = {"controller": {"workloads": {"enabled": True}}}
    return await installed(kinds, WORKLOADS, "delete persistentvolumeclaims default", values)


@pytest.mark.parametrize("asked", words(FOR_WORKLOADS))
async def test_it_may_do_what_clone_sets_need_where_it_looks_after_them(workloads: Api, asked: str) -> None:
    assert await allowed(workloads, WORKLOADS, asked)


@pytest.mark.parametrize("asked", words(NOT_EVEN_FOR_WORKLOADS))
async def test_it_may_do_no_more_there(workloads: Api, asked: str) -> None:
    assert not await allowed(workloads, WORKLOADS, asked)


@pytest.mark.parametrize(
    "asked", [each for each in words(FOR_WORKLOADS) if "watch" in each or "create" in each]
)
async def test_it_may_not_where_it_does_not(release: Api, asked: str) -> None:
    assert not await allowed(release, RELEASE, asked)


@pytest.mark.parametrize("asked", words(MAY))
async def test_the_controller_may(release: Api, asked: str) -> None:
    assert await allowed(release, RELEASE, asked)


@pytest.mark.parametrize("asked", words(MAY_NOT))
async def test_the_controller_may_not(release: Api, asked: str) -> None:
    assert not await allowed(release, RELEASE, asked)


@pytest.mark.parametrize("asked", ["get secrets default", "get secrets kube-system", "list secrets team"])
async def test_it_may_read_no_secrets_but_those_it_is_given(closed: Api, asked: str) -> None:
    assert not await allowed(closed, CLOSED, asked)


async def test_it_may_read_those_it_is_given(closed: Api) -> None:
    assert await allowed(closed, CLOSED, "get secrets team")
