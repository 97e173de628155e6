"""What changes in place on a node that exists in tests only."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from daemon.debug.views import (
    ChangeView,
    ErrorView,
    NextImageView,
    PodsView,
    ResizeView,
    RestartStep,
    RestartView,
    UpdateView,
)

MIB = 2**20
_IMAGE = "registry.example.com:5000/shop/web:v2"


def changing_pods(now: datetime) -> PodsView:
    """Pods that change in place, all going well."""
    return PodsView(
        updates=(_update(now, "web-7d9f4-b8kxn", 41), _update(now, "web-7d9f4-x2lqp", 100)),
        restarts=(
            _restart(now, "web-7d9f4-q9zrt", "PreStop"),
            _restart(now, "web-7d9f4-m4jws", "Successor"),
            replace(
                _restart(now, "web-7d9f4-h6ptv", "Done"), ended_at=now - timedelta(seconds=9), seconds=1.04
            ),
        ),
        resizes=(_resize(now, "cache-0", "Resizing"), _resize(now, "cache-1", "InSync")),
    )


def troubled_pods(now: datetime) -> PodsView:
    """Pods of which one of each kind is in trouble."""
    view = changing_pods(now)
    tight = replace(
        _update(now, "big-0", 100),
        ready=False,
        fits=False,
        reason="WouldNotFit",
        message="the node has too little for it: memory 3Gi more is needed, 1Gi is free",
    )
    stuck = replace(
        _restart(now, "web-7d9f4-z5ncd", "Failed"),
        detail="restarted 3 times, and it still differs: what changes its environment on the node?",
    )
    never = replace(
        _resize(now, "cache-2", "Infeasible"),
        message="the node can never hold it: cpu 64 is requested, 8 is allocatable",
    )
    error = ErrorView(
        at=now - timedelta(seconds=30),
        namespace="default",
        pod="cache-2",
        reason="ResizeInfeasible",
        message=never.message,
    )
    return replace(
        view,
        updates=(tight, *view.updates),
        restarts=(stuck, *view.restarts),
        resizes=(never, *view.resizes),
        errors=(error,),
    )


def _update(now: datetime, pod: str, percent: int) -> UpdateView:
    there = percent == 100
    image = NextImageView(
        container="app",
        image=_IMAGE,
        phase="Succeeded" if there else "Pulling",
        percent=percent,
        bytes_done=412 * MIB * percent // 100,
        bytes_total=412 * MIB,
    )
    return UpdateView(
        namespace="default",
        pod=pod,
        revision="web-6d9f",
        ready=there,
        fits=True,
        reason="Pulled" if there else "Pulling",
        message="its images are on the node" if there else f"{_IMAGE}: {percent} %",
        since=now - timedelta(seconds=4),
        images=(image,),
    )


def _restart(now: datetime, pod: str, step: RestartStep) -> RestartView:
    return RestartView(
        namespace="default",
        pod=pod,
        container="app",
        step=step,
        why="labels or annotations of the pod changed GREETING, COLOUR",
        since=now - timedelta(seconds=2),
    )


def _resize(now: datetime, pod: str, state: str) -> ResizeView:
    return ResizeView(
        namespace="default",
        pod=pod,
        state=state,
        changes=(
            ChangeView(container="app", name="cpu request", before="100m", wanted="250m"),
            ChangeView(container="app", name="memory limit", before="128Mi", wanted="256Mi"),
        ),
        since=now - timedelta(seconds=2),
    )
