"""The chart as Helm renders it."""

import functools
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.testbed.programs import helm_binary
from tests.testbed.session import TestbedError

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "inplaced"
RELEASE: Final = "inplaced"
NAMESPACE: Final = "inplaced"
KUBERNETES: Final = "1.37.0"
DEADLINE: Final = 60.0
EVERYTHING: Final[Mapping[str, Any]] = {
    "agent": {
        "openkruiseSecrets": True,
        "dockerConfig": "/var/lib/kubelet/config.json",
        "credentialProvider": {"binDirectory": "/opt/plugins", "config": "/etc/plugins/config.yaml"},
        "runtime": {"sockets": ["/run/containerd/containerd.sock", "/run/crio/crio.sock"]},
        "seLinuxOptions": {"type": "spc_t"},
        "nodeSelector": {"a": "b"},
        "podLabels": {"c": "d"},
        "podAnnotations": {"e": "f"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
        "extraVolumes": [{"name": "aws", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "aws", "mountPath": "/aws"}],
        "settings": {
            "pull-workers": 4,
            "disk-floor-mib": 2000000,
            "pull-backoff": 0.5,
            "measure-images": False,
            "allowed-uids": [1, 2],
        },
    },
    "controller": {"pullSecretNamespaces": ["team-a", "team-b"], "nodeSelector": {"a": "b"}},
    "criticalPodsQuota": 100,
    "imagePullSecrets": [{"name": "registry"}],
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True, "annotations": {"folder": "nodes"}},
    },
}
"""Values under which every template and every branch that adds something is rendered."""

Document = Mapping[str, Any]


def helm(*arguments: str, stdin: str = "") -> str:
    """Run Helm on the chart and return what it printed. Raises TestbedError with its errors."""
    done = subprocess.run(
        [helm_binary(), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    if done.returncode != 0:
        raise TestbedError(f"helm {arguments[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def rendered_text(values: Mapping[str, Any], namespace: str = NAMESPACE, release: str = RELEASE) -> str:
    """What ``helm template`` prints under *values*. Raises TestbedError."""
    where = (release, str(CHART), "--namespace", namespace, "--kube-version", KUBERNETES)
    return helm("template", *where, "--values", "-", stdin=json.dumps(values))


def render(
    values: Mapping[str, Any] | None = None, namespace: str = NAMESPACE, release: str = RELEASE
) -> list[Document]:
    """Every document of the release under *values*, the hooks of ``helm test`` included."""
    return list(_documents(json.dumps(values or {}, sort_keys=True), namespace, release))


@functools.cache
def _documents(values: str, namespace: str, release: str) -> tuple[Document, ...]:
    loaded = yaml.load_all(rendered_text(json.loads(values), namespace, release), Loader=yaml.CSafeLoader)
    return tuple(document for document in loaded if document is not None)


def of_kind(kind: str, documents: Iterable[Document] | None = None) -> list[Document]:
    """Those of *documents* that are of that kind, by default of the release as it is without values."""
    return [document for document in documents or render() if document["kind"] == kind]


def the(kind: str, name: str, documents: Iterable[Document] | None = None) -> Document:
    """The one document of that kind and name."""
    (found,) = [each for each in of_kind(kind, documents) if each["metadata"]["name"] == name]
    return found


def is_hook(document: Document) -> bool:
    """Whether Helm makes it for ``helm test`` alone."""
    return "helm.sh/hook" in document["metadata"].get("annotations", {})
