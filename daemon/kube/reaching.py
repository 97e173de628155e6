"""Chooses how the API server is reached."""

from collections.abc import Mapping
from pathlib import Path

from daemon.kube.access import Access, InCluster


def reached_by(kubeconfig: Path | None, environ: Mapping[str, str]) -> Access:
    """By the kubeconfig, or by the pod's own account; whether it is there shows at the first request."""
    if kubeconfig is None:
        return InCluster(environ)
    from daemon.kube.kubeconfig import Kubeconfig  # only here: its import costs 20 MiB

    return Kubeconfig(kubeconfig)
