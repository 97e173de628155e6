"""What people with Kubernetes' own roles may do with our kinds, as a real cluster puts the roles together."""

from collections.abc import Mapping
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.charts.rendering import Document, of_kind, render
from tests.testbed.api import Api
from tests.testbed.cluster import Cluster
from tests.testbed.processes import until

PULLER = "inplaced-puller"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SEEN = ("workloadrestarts", "containerrecreaterequests", "imagepulljobs", "imagelistpulljobs", "clonesets")
JOBS = ("imagepulljobs", "imagelistpulljobs")
MAY = [
    *((role, "list", plural) for role in ("view", "edit", "admin") for plural in SEEN),
    *((role, "create", plural) for role in ("edit", "admin") for plural in SEEN[:2]),
    *((role, "patch", "workloadrestarts") for role in ("edit", "admin")),
    *(("puller", verb, plural) for verb in ("list", "watch", "create", "patch", "delete") for plural in JOBS),
    ("puller-everywhere", "create", "imagepulljobs"),
    *(("puller-everywhere", verb, "nodeimages") for verb in ("get", "list", "watch")),
]
MAY_NOT = [
    *(("view", verb, plural) for verb in ("create", "patch", "delete") for plural in SEEN),
    *((role, "create", plural) for role in ("edit", "admin") for plural in SEEN[2:]),
    *((role, "patch", f"{plural}/status") for role in ("edit", "admin") for plural in SEEN),
    *((role, "list", "nodeimages") for role in ("view", "edit", "admin", "puller")),
    *(("puller-everywhere", verb, "nodeimages") for verb in ("create", "patch", "delete")),
    *(("puller-everywhere", "patch", f"{plural}/status") for plural in ("nodeimages", *JOBS)),
    *(
        ("puller-everywhere", "create", plural)
        for plural in ("containerrecreaterequests", "workloadrestarts")
    ),
]


def roles(values: Mapping[str, Any] | None = None) -> list[Document]:
    """The roles for people."""
    found = of_kind("ClusterRole", render(values))
    return [each for each in found if is_for_people(each)]


def is_for_people(role: Document) -> bool:
    aggregated = any("aggregate-to" in label for label in role["metadata"]["labels"])
    return aggregated or role["metadata"]["name"] == PULLER


def test_there_are_none_where_they_are_not_wanted() -> None:
    assert len(roles()) == 3
    assert roles({"roles": {"aggregate": False, "puller": False}}) == []


def test_nobody_may_pull_because_the_release_is_there() -> None:
    bound = [each["roleRef"]["name"] for each in render() if each["kind"].endswith("RoleBinding")]

    assert PULLER not in bound


async def allowed(api: Api, role: str, verb: str, resource: str) -> bool:
    plural, _, subresource = resource.partition("/")
    attributes = {
        "verb": verb,
        "group": names.OWN_GROUP if plural == "workloadrestarts" else names.KRUISE_GROUP,
        "resource": plural,
        "subresource": subresource,
        "namespace": "" if plural == "nodeimages" else "default",
    }
    spec = {"user": f"a-{role}", "resourceAttributes": attributes}
    answer = await api.request("POST", REVIEWS, {"spec": spec})
    return bool(answer["status"]["allowed"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(cluster: Cluster) -> Api:
    """A cluster with a user for each role in the namespace default."""
    api = cluster.api
    await api.apply(*roles())
    for role, name in {"view": "view", "edit": "edit", "admin": "admin", "puller": PULLER}.items():
        binding = (f"a-{role}", f"--clusterrole={name}", f"--user=a-{role}")
        await api.kubectl("--namespace=default", "create", "rolebinding", *binding)
    everywhere = (f"--clusterrole={PULLER}", "--user=a-puller-everywhere")
    await api.kubectl("create", "clusterrolebinding", "pullers", *everywhere)

    async def put_together() -> bool:
        return await allowed(api, "admin", "create", "workloadrestarts") and await allowed(
            api, "view", "list", "imagepulljobs"
        )

    await until(put_together, timeout=30.0, what="the roles to be put together", pause=0.1)
    return api


@pytest.mark.parametrize(("role", "verb", "resource"), MAY)
async def test_a_role_may(people: Api, role: str, verb: str, resource: str) -> None:
    assert await allowed(people, role, verb, resource)


@pytest.mark.parametrize(("role", "verb", "resource"), MAY_NOT)
async def test_a_role_may_not(people: Api, role: str, verb: str, resource: str) -> None:
    assert not await allowed(people, role, verb, resource)
