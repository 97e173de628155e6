"""What tests of the whole agent look at: its view, its status files, and what registries were asked."""

from typing import Any

import yaml

from daemon.debug.views import JobView, NodeView
from tests.testbed.agent import Agent
from tests.testbed.processes import until
from tests.testbed.registry import Registry

MB = 1_000_000
AFTER = 2 * MB
"""containerd writes what it fetches in steps of one MiB, so that less than that is never seen."""


def fetched(registry: Registry, repository: str) -> list[str]:
    """The blobs that were fetched of a repository, in order."""
    return [
        access.path.rpartition("/")[2]
        for access in registry.accesses(repository)
        if access.method == "GET" and "/blobs/" in access.path
    ]


def asked(registry: Registry, repository: str) -> int:
    """How often a manifest of the repository was asked for."""
    return sum(
        access.method in {"GET", "HEAD"} and "/manifests/" in access.path
        for access in registry.accesses(repository)
    )


async def state(agent: Agent, kind: str, name: str, field: str) -> dict[str, Any]:
    """The status in a state file, once *field* is in it: what is shown may be ahead of the disk."""
    found: dict[str, Any] = {}

    async def is_written() -> bool:
        for path in (agent.state / kind).rglob(f"{name}.yaml"):
            found.update(yaml.safe_load(path.read_text())["status"])
        return bool(found.get(field))

    await until(is_written, timeout=10.0, what=f"{field} in the file of {name}")
    return found


def conditions(job: JobView) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in job.conditions}


def is_pulling(ref: str, done: int = 0) -> Any:
    def reached(view: NodeView) -> bool:
        return any(
            pull.image == ref and pull.phase == "Pulling" and pull.bytes_done >= done for pull in view.pulls
        )

    return reached


def is_gone(name: str) -> Any:
    return lambda view: name not in {job.name for job in view.jobs}
