"""A node without anything behind it: sources and asks that a test sets and changes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from daemon.debug.sources import Check, PullAnswer, PullRequest, RefusedError
from daemon.debug.views import (
    DiskView,
    JobView,
    LayerView,
    NodeView,
    PodsView,
    ProblemView,
    PullView,
    RuntimeView,
)
from daemon.objects.meta import Condition
from tests.fakes.node_pods import changing_pods, troubled_pods

NOW = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
MIB = 2**20
GIB = 2**30


@dataclass
class FakeNode:
    """Sources whose view a test changes with ``show``."""

    shown: NodeView
    number: int = 1
    checks: Sequence[Check] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    exposition: bytes = b"# TYPE up gauge\nup 1.0\n"
    views: int = 0
    """How often the view was read."""
    waiting: int = 0
    """How many wait for a change now."""
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def show(self, view: NodeView) -> None:
        """Change the view and wake those who wait for it."""
        async with self._moved:
            self.shown = view
            self.number += 1
            self._moved.notify_all()

    async def until_watched(self, clients: int) -> None:
        """Wait until that many wait for the next change. Raises TimeoutError."""
        async with asyncio.timeout(10), self._moved:
            await self._moved.wait_for(lambda: self.waiting == clients)

    def view(self) -> NodeView:
        self.views += 1
        return self.shown

    def live(self) -> Sequence[Check]:
        return self.checks

    def ready(self) -> Sequence[Check]:
        return self.checks

    def flags(self) -> Mapping[str, Any]:
        return self.settings

    def metrics(self) -> bytes:
        return self.exposition

    async def changed(self, seen: int) -> int:
        async with self._moved:
            self.waiting += 1
            self._moved.notify_all()
            try:
                await self._moved.wait_for(lambda: self.number > seen)
            finally:
                self.waiting -= 1
                self._moved.notify_all()
        return self.number


@dataclass
class FakeAsks:
    """Takes every request but those for images that it refuses."""

    asked: list[PullRequest] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)

    async def pull(self, request: PullRequest) -> PullAnswer:
        for image in request.images:
            if image in self.refuse:
                raise RefusedError(self.refuse[image])
        self.asked.append(request)
        return PullAnswer(jobs=tuple(f"default/pull-{number}" for number, _ in enumerate(request.images)))


def empty_view() -> NodeView:
    """A node on which nothing has been asked for."""
    return NodeView(
        node="edge-7",
        version="0.1.0",
        started_at=NOW - timedelta(seconds=42),
        now=NOW,
        ready=True,
        runtimes=(containerd(),),
        disk=DiskView(
            mountpoint="/var/lib/containerd",
            capacity=98 * GIB,
            free=61 * GIB,
            reserve=int(14.7 * GIB),
            available=int(46.3 * GIB),
        ),
        pods=PodsView(),
    )


def busy_view() -> NodeView:
    """A node with images in every state, all going well."""
    return replace(
        empty_view(),
        started_at=NOW - timedelta(days=3, hours=4, minutes=12),
        pulls=(pulling("registry.example.com:5000/shop/web:v2", 41), unpacking(), waiting(), *_present()),
        jobs=_jobs(),
        pods=changing_pods(NOW),
    )


def troubled_view() -> NodeView:
    """A node where something of each kind is wrong."""
    view = busy_view()
    lost = RuntimeView(
        socket="/run/crio/crio.sock",
        ready=False,
        name="cri-o",
        message="nobody listens at the socket; trying again every 5 s",
    )
    return replace(
        view,
        ready=False,
        runtimes=(*view.runtimes, lost),
        pulls=(*view.pulls, missing(), backing_off()),
        jobs=(_failed_job(), *view.jobs),
        pods=troubled_pods(NOW),
        problems=_problems(),
    )


def containerd() -> RuntimeView:
    return RuntimeView(
        socket="/run/containerd/containerd.sock",
        ready=True,
        name="containerd",
        version="2.1.4",
        progress="bytes",
        pins="label",
    )


def pulling(image: str, percent: int) -> PullView:
    """A pull of 412 MiB in three layers, two more being there already."""
    total = 412 * MIB
    done = total * percent // 100
    sizes = (300 * MIB, 96 * MIB, 16 * MIB)
    layers = tuple(
        LayerView(
            digest=f"sha256:{letter * 64}",
            size=size,
            done=size * percent // 100,
            state="fetched" if percent == 100 else "fetching" if percent else "waiting",
        )
        for letter, size in zip("abc", sizes, strict=True)
    )
    reused = tuple(
        LayerView(digest=f"sha256:{letter * 64}", size=620 * MIB, done=0, state="reused") for letter in "de"
    )
    return PullView(
        image=image,
        phase="Pulling",
        version=3,
        priority=10,
        percent=percent,
        bytes_done=done,
        bytes_total=total,
        bytes_reused=1240 * MIB,
        rate=96.1 * MIB,
        seconds_left=(total - done) / (96.1 * MIB),
        layers=layers + reused,
        created_at=NOW - timedelta(seconds=3),
        started_at=NOW - timedelta(seconds=2),
        owners=("ImagePullJob/default/web-v2",),
    )


def succeeded(image: str, minutes: int) -> PullView:
    """A pull that ended so many minutes ago."""
    ended = NOW - timedelta(minutes=minutes)
    return PullView(
        image=image,
        phase="Succeeded",
        percent=100,
        bytes_done=187 * MIB,
        bytes_total=187 * MIB,
        bytes_reused=74 * MIB,
        created_at=ended - timedelta(seconds=5),
        started_at=ended - timedelta(seconds=4.2),
        completed_at=ended,
        pinned=True,
        image_id=f"sha256:{'f' * 64}",
        owners=("ImagePullJob/default/base",),
    )


def unpacking() -> PullView:
    return PullView(
        image="registry.example.com:5000/shop/search@sha256:" + "9" * 64,
        phase="Unpacking",
        percent=100,
        bytes_done=88 * MIB,
        bytes_total=88 * MIB,
        created_at=NOW - timedelta(seconds=10),
        started_at=NOW - timedelta(seconds=9),
        owners=("ImageListPullJob/default/nightly",),
    )


def waiting() -> PullView:
    return PullView(
        image="docker.io/library/postgres:17.2",
        phase="Waiting",
        created_at=NOW - timedelta(seconds=20),
        owners=("ImageListPullJob/default/nightly",),
    )


def missing() -> PullView:
    return PullView(
        image="registry.example.com:5000/shop/cart:v9",
        phase="Failed",
        failures=4,
        created_at=NOW - timedelta(minutes=2),
        started_at=NOW - timedelta(minutes=2),
        completed_at=NOW - timedelta(minutes=1),
        reason="ImageNotFound",
        message="registry.example.com:5000 knows no shop/cart:v9: manifest unknown",
        remedy="Check the name and the tag; push the image, then apply the job again.",
        owners=("ImagePullJob/default/cart-v9",),
    )


def backing_off() -> PullView:
    return PullView(
        image="private.example.com/ml/model:2026-05",
        phase="BackingOff",
        percent=62,
        bytes_done=4 * GIB,
        bytes_total=int(6.5 * GIB),
        failures=2,
        retry_at=NOW + timedelta(seconds=18),
        created_at=NOW - timedelta(minutes=4),
        started_at=NOW - timedelta(minutes=4),
        reason="NoSpace",
        message="6.3 GiB are needed, 2.1 GiB are available on /var/lib/containerd",
        remedy="Free space or lower --disk-reserve-percent; the pull continues by itself.",
        owners=("ImagePullJob/ml/model",),
    )


def _present() -> tuple[PullView, ...]:
    names = (
        "docker.io/library/nginx:1.27",
        "docker.io/library/redis:7.4",
        "quay.io/prometheus/node-exporter:v1.9.0",
    )
    return tuple(succeeded(name, 7 * number) for number, name in enumerate(names, 1))


def _jobs() -> tuple[JobView, ...]:
    done = Condition(type="Ready", status="True", reason="Completed", message="")
    at_work = Condition(
        type="Reconciling", status="True", reason="Pulling", message="1 of 1 images is being pulled"
    )
    not_yet = Condition(type="Ready", status="False", reason="Pulling", message="")
    return (
        JobView(
            kind="ImagePullJob",
            namespace="default",
            name="web-v2",
            images=("registry.example.com:5000/shop/web:v2",),
            desired=1,
            active=1,
            succeeded=0,
            failed=0,
            created_at=NOW - timedelta(seconds=3),
            conditions=(not_yet, at_work),
            source="/etc/inplaced/manifests/web.yaml:1",
        ),
        JobView(
            kind="ImageListPullJob",
            namespace="default",
            name="nightly",
            images=(
                "registry.example.com:5000/shop/search@sha256:" + "9" * 64,
                "docker.io/library/postgres:17.2",
            ),
            desired=2,
            active=2,
            succeeded=0,
            failed=0,
            created_at=NOW - timedelta(seconds=20),
            conditions=(not_yet,),
            source="/etc/inplaced/manifests/nightly.yaml:14",
        ),
        JobView(
            kind="ImagePullJob",
            namespace="default",
            name="base",
            images=("docker.io/library/nginx:1.27",),
            desired=1,
            active=0,
            succeeded=1,
            failed=0,
            created_at=NOW - timedelta(minutes=7),
            completed_at=NOW - timedelta(minutes=7),
            conditions=(done,),
        ),
    )


def _failed_job() -> JobView:
    stalled = Condition(
        type="Stalled",
        status="True",
        reason="ImageNotFound",
        message="edge-7: manifest unknown after 4 attempts",
    )
    return JobView(
        kind="ImagePullJob",
        namespace="default",
        name="cart-v9",
        images=("registry.example.com:5000/shop/cart:v9",),
        desired=1,
        active=0,
        succeeded=0,
        failed=1,
        created_at=NOW - timedelta(minutes=2),
        completed_at=NOW - timedelta(minutes=1),
        conditions=(stalled,),
        source="/etc/inplaced/manifests/cart.yaml:1",
    )


def _problems() -> tuple[ProblemView, ...]:
    return (
        ProblemView(
            file="/etc/inplaced/manifests/broken.yaml",
            line=9,
            message="spec.pullPolicy.timeoutSeconds must be a whole number",
            object="ImagePullJob default/broken",
            field="spec.pullPolicy.timeoutSeconds",
            value='"ten"',
            allowed="1 to 2147483647, seconds",
        ),
        ProblemView(file="/etc/inplaced/manifests/notes.txt.yaml", line=1, message="not a YAML mapping"),
    )
