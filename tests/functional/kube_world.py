"""A fake API server with jobs on it, for tests of what follows and writes them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import IMAGE_PULL_JOBS
from daemon.metrics import Metrics
from daemon.objects.images import ImagePullJob
from daemon.objects.meta import Key
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.following import following

WEB = Key("default", "web")


@dataclass(slots=True)
class World:
    """The server, and the jobs as one process sees them."""

    server: FakeApiServer
    client: ApiClient
    metrics: Metrics
    informer: Informer[ImagePullJob]
    jobs: KubeObjects[ImagePullJob]

    def put(self, name: str = "web", image: str = "nginx:1", **more: Any) -> None:
        """Have somebody else write a job."""
        document = {
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"image": image, **more.pop("spec", {})},
            **more,
        }
        self.server.store("imagepulljobs", document)

    def restarts(self, reason: str) -> float:
        """How often the watch began anew for that reason."""
        labels = {"resource": "imagepulljobs", "reason": reason}
        return self.metrics.registry.get_sample_value("inplaced_watch_restarts_total", labels) or 0.0

    def readings(self) -> int:
        """How often all objects were asked for."""
        streamed = [
            each
            for each in self.server.requests
            if each.verb == "watch" and "sendInitialEvents" in each.query
        ]
        return len(streamed) + self.server.count("list")


@asynccontextmanager
async def world(server: FakeApiServer | None = None) -> AsyncIterator[World]:
    """A world whose jobs are not followed yet."""
    metrics = Metrics()
    async with (
        server or FakeApiServer() as running,
        ApiClient(Fixed(running.url), metrics, deadline=5.0) as client,
    ):
        informer = Informer(client, IMAGE_PULL_JOBS, metrics)
        yield World(running, client, metrics, informer, KubeObjects(client, informer))


@asynccontextmanager
async def followed_world(server: FakeApiServer | None = None) -> AsyncIterator[World]:
    """A world whose jobs are followed."""
    async with world(server) as made, following(made.informer):
        yield made
