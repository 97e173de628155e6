"""The kinds, and the whole release, on the shared API server."""

from collections.abc import Mapping
from typing import Any

import pytest_asyncio

from tests.charts.rendering import Document, is_hook, of_kind, render
from tests.testbed.api import Api, RefusedError
from tests.testbed.processes import until

DEADLINE = 30.0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kinds(control_plane: Api) -> Api:
    """The API server with our kinds, as an administrator sees it."""
    return await with_kinds(control_plane)


async def with_kinds(api: Api) -> Api:
    """Add our kinds, and return when they are served."""
    definitions = of_kind("CustomResourceDefinition")
    await api.apply(*definitions)
    crds = [f"crd/{each['metadata']['name']}" for each in definitions]
    await api.kubectl("wait", "--for=condition=Established", f"--timeout={DEADLINE:.0f}s", *crds)
    for each in definitions:
        for version in each["spec"]["versions"]:
            await served(api, each, version["name"])
    return api


async def served(api: Api, definition: Document, version: str) -> None:
    """Wait until the API server answers for that version: a moment after it says so."""
    spec = definition["spec"]

    async def answers() -> bool:
        try:
            await api.get(f"/apis/{spec['group']}/{version}/{spec['names']['plural']}")
        except RefusedError as error:
            if error.status not in {404, 429, 503}:
                raise
            return False
        return True

    await until(answers, timeout=DEADLINE, what=f"{version} of {spec['names']['plural']}", pause=0.05)


async def install(api: Api, release: str, values: Mapping[str, Any] | None = None) -> None:
    """Apply what *release* makes in the namespace of its name, but for what needs kinds of somebody else."""
    documents = [
        each
        for each in render({"crds": {"install": False}, **(values or {})}, release, release)
        if not is_hook(each) and "monitoring.coreos.com" not in each["apiVersion"]
    ]
    await api.create_if_missing("/api/v1/namespaces", {"metadata": {"name": release}})
    await api.apply(*of_kind("Namespace", documents))
    await api.apply(*documents)
