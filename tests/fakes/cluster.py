"""A cluster for commands that block: the fake API server in a thread of its own, with a controller in it."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.fakes.apiserver import FakeApiServer
from tests.fakes.apistorage import Change

DEADLINE = 20.0
T = TypeVar("T")
PLAYED = frozenset({"imagepulljobs", "containerrecreaterequests", "workloadrestarts"})
Play = Callable[[FakeApiServer, Mapping[str, Any]], None]
"""What becomes of a job or request that was made; runs on the server's loop."""


class FakeCluster:
    """``server`` belongs to the thread: touch it by ``do``."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.server = FakeApiServer()
        self.play: Play = lambda _server, _job: None
        self.react: Play = lambda _server, _pod: None
        """Called with each pod that was changed."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cluster")

    def start(self) -> None:
        self._thread.start()
        self.do(self.server.start)
        self.server.storage.listeners.append(self._on_change)
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "fake", "cluster": {"server": self.server.url}}],
                    "users": [{"name": "me", "user": {"token": "t"}}],
                    "contexts": [
                        {"name": "fake", "context": {"cluster": "fake", "user": "me", "namespace": "shop"}}
                    ],
                    "current-context": "fake",
                }
            )
        )

    def stop(self) -> None:
        self.do(self.server.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the cluster did not stop"
        self._loop.close()

    def do(self, work: Callable[[], Any]) -> Any:
        """Do it on the server's loop and return what it returns."""

        async def done() -> Any:
            found = work()
            return await found if asyncio.iscoroutine(found) else found

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(DEADLINE)

    def store(self, plural: str, document: Mapping[str, Any]) -> None:
        self.do(lambda: self.server.store(plural, document))

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        """Do it on the loop after a while: call it from ``play`` only."""
        self._loop.call_later(seconds, work)

    def _on_change(self, change: Change) -> None:
        if change.plural in PLAYED and change.before is None:
            self._loop.call_soon(self.play, self.server, change.document)
        if change.plural == "pods":
            self._loop.call_soon(self.react, self.server, change.document)


@contextmanager
def cluster(kubeconfig: Path) -> Iterator[FakeCluster]:
    """A cluster until the end of the block."""
    made = FakeCluster(kubeconfig)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def node_image(name: str, job: Mapping[str, Any], **status: Any) -> dict[str, Any]:
    """The NodeImage of a node that was told to have the job's image, and says *status* of it."""
    image, _, tag = job["spec"]["image"].rpartition(":")
    owner = {"kind": "ImagePullJob", "apiVersion": "apps.kruise.io/v1beta1"}
    owner |= {key: job["metadata"][key] for key in ("name", "namespace", "uid")}
    told = [{"tag": tag, "version": 0, "progress": 0, **status}] if status else []
    return {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "NodeImage",
        "metadata": {"name": name},
        "spec": {"images": {image: {"tags": [{"tag": tag, "version": 0, "ownerReferences": [owner]}]}}},
        "status": {"imageStatuses": {image: {"tags": told}}, "agent": {"version": "0.1.0"}},
    }


def told(job: Mapping[str, Any], **status: Any) -> dict[str, Any]:
    """The job with that status."""
    return {**job, "status": {"startTime": "2026-05-01T12:00:00Z", **status}}
