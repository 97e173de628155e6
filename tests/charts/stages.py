"""A release on a real API server, with two nodes and the agent of one of them."""

from dataclasses import dataclass
from typing import Any, Final

from daemon import names
from tests.charts.attempts import (
    CLAIM,
    EVENTS,
    JOBS,
    LEASES,
    LISTS,
    NODE_IMAGES,
    NODE_LEASES,
    OTHER,
    OWN,
    PODS,
    REQUESTS,
    SECRETS,
    STATUS,
    Attempt,
    event,
    kruise,
    lease,
)
from tests.charts.fixtures import install
from tests.testbed.accounts import as_pod_on, make_account
from tests.testbed.api import Api, RefusedError
from tests.testbed.processes import until

BY_POLICY: Final = "may not"
"""What only the admission policy says."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A release with two nodes, and the agent of one of them."""

    admin: Api
    agent: Api
    namespace: str

    async def attempt(self, attempt: Attempt, api: Api | None = None) -> None:
        """Have the agent, or the holder of *api*, try it. Raises RefusedError."""
        path = attempt.path.replace("NAMESPACE", self.namespace)
        await (api or self.agent).request(attempt.method, path, attempt.body, patch=attempt.patch)

    @property
    def account(self) -> str:
        """The agents' ServiceAccount."""
        return f"{self.namespace}-inplaced-agent"


async def set_up(admin: Api, release: str) -> Stage:
    """Install *release*, make what attempts are made on, and wait until the policy is in force."""
    await install(admin, release)
    for node in (OWN, OTHER):
        # With room, for the API server refuses what cannot fit before it asks any policy.
        room = {"cpu": "1", "memory": "1Gi", "pods": "10"}
        status = {"capacity": room, "allocatable": room}
        await admin.create_if_missing("/api/v1/nodes", {"metadata": {"name": node}, "status": status})
    account = f"{release}-inplaced-agent"
    agent = await as_pod_on(admin, release, account, OWN)
    await make_account(admin, release, "default")
    for path, body in _objects():
        await admin.create_if_missing(path.replace("NAMESPACE", release), body)
    for name, node in (("own", OWN), ("other", OTHER), ("other-labelled", OTHER)):
        told = {"status": {"nodeName": node, "podUID": "u1", "phase": "Pending"}}
        await admin.request("PATCH", f"{REQUESTS}/{name}/status", told)
    stage = Stage(admin, agent, release)
    await until(lambda: _in_force(stage), timeout=30.0, what="the policy to be in force", pause=0.05)
    return stage


def _objects() -> list[tuple[str, dict[str, Any]]]:
    return [
        *((NODE_IMAGES, kruise("NodeImage", node, {})) for node in (OWN, OTHER)),
        (JOBS, kruise("ImagePullJob", "job", {"image": "a"})),
        (LISTS, kruise("ImageListPullJob", "list", {"images": ["a"]})),
        *((REQUESTS, _request(name)) for name in ("own", "other", "nobody-s")),
        *((REQUESTS, _request(name, OWN)) for name in ("own-labelled", "other-labelled")),
        (LEASES, lease(names.lease_name(OTHER))),
        (LEASES, lease(names.ELECTION_LEASE)),
        (NODE_LEASES, lease(OTHER)),
        (EVENTS, event("of-other", OTHER)),
        *((SECRETS, {"metadata": {"name": node}, "type": names.SEALED_TYPE}) for node in (OWN, OTHER)),
        ("/api/v1/namespaces/default/secrets", {"metadata": {"name": "anybody-s"}}),
        *((PODS, _pod(name, node)) for name, node in (("own-pod", OWN), ("other-pod", OTHER))),
    ]


def _request(name: str, labelled: str = "") -> dict[str, Any]:
    made = kruise("ContainerRecreateRequest", name, {"podName": "a", "containers": [{"name": "b"}]})
    if labelled:
        made["metadata"]["labels"] = {
            names.RECREATE_NODE_LABEL: labelled,
            names.RECREATE_ACTIVE_LABEL: "true",
        }
    return made


def _pod(name: str, node: str) -> dict[str, Any]:
    container = {
        "name": "holder",
        "image": "registry.test/never-run:1",
        "resources": {"requests": {"cpu": "1m"}},
    }
    claims = [{"name": CLAIM, "resourceClaimTemplateName": "devices"}]
    spec = {"nodeName": node, "containers": [container], "resourceClaims": claims}
    return {"metadata": {"name": name}, "spec": spec}


async def _in_force(stage: Stage) -> bool:
    try:
        await stage.agent.request("PATCH", f"{NODE_IMAGES}/{OTHER}/status?dryRun=All", STATUS)
    except RefusedError as error:
        return BY_POLICY in error.message
    return False
