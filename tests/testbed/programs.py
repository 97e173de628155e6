"""The programs of the test bed that no Debian package brings, or none of a version that will do.

    python -m tests.testbed.programs

builds whatever is missing, with progress. Standard library only.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.testbed.session import TestbedError
from tests.testbed.toolchain import Recipe, built, required_version

HERE: Final = Path(__file__).parent
KUBERNETES_VARIABLE: Final = "INPLACED_KUBERNETES_VERSION"
"""Chooses the minor version of Kubernetes."""
KUBERNETES_MINORS: Final = ("1.37", "1.34")
"""The default first."""
ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
"""Where users of envtest keep etcd, kube-apiserver and kubectl; nothing else of it is looked at."""
ASSETS: Final = frozenset({"etcd", "kube-apiserver", "kubectl"})
VERSION_PACKAGES: Final = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


@dataclass(frozen=True, slots=True)
class KubernetesPrograms:
    """Where the programs of one version of Kubernetes are."""

    directory: Path | None = None
    """One that somebody else made; None: built here from the module of the chosen version."""

    def __getitem__(self, name: str) -> str:
        """The path of a program, built if need be. Raises TestbedError."""
        if self.directory is not None and name in ASSETS:
            path = self.directory / name
            if not path.exists():
                raise TestbedError(f"${ASSETS_VARIABLE} has no {name}: {self.directory}")
            return str(path)
        if name == "etcd":
            return str(built(_etcd()) / name)
        return str(kubernetes_binaries() / name)


def kubernetes_programs() -> KubernetesPrograms:
    """Those of $KUBEBUILDER_ASSETS, or else ours."""
    assets = os.environ.get(ASSETS_VARIABLE)
    return KubernetesPrograms(Path(assets) if assets else None)


def kubernetes_minor() -> str:
    """The chosen minor version, for example "1.37". Raises TestbedError."""
    chosen = os.environ.get(KUBERNETES_VARIABLE) or KUBERNETES_MINORS[0]
    minor = ".".join(chosen.removeprefix("v").split(".")[:2])
    if minor not in KUBERNETES_MINORS:
        known = " or ".join(KUBERNETES_MINORS)
        raise TestbedError(f"{KUBERNETES_VARIABLE}={chosen}: there are modules for {known} only")
    return minor


def containerd2_binaries() -> Path:
    """The directory with containerd 2, its shim and ctr."""
    return built(_containerd2())


def kubernetes_binaries() -> Path:
    """The directory with every program of Kubernetes, of the chosen version."""
    return built(_kubernetes(kubernetes_minor()))


def helm_binary() -> Path:
    """Helm 3."""
    return built(_helm()) / "helm"


def _containerd2() -> Recipe:
    module, sources = "github.com/containerd/containerd/v2", HERE / "containerd2"
    version = required_version(sources / "go.mod", module)
    names = ("containerd", "containerd-shim-runc-v2", "ctr")
    return Recipe(
        name="containerd",
        version=version,
        sources=_module(sources),
        packages=tuple(f"{module}/cmd/{name}" for name in names),
        # Leaves out snapshotters that no test uses.
        tags="no_btrfs,no_zfs,no_devmapper,netgo,osusergo",
        settings={f"{module}/version.Version": version},
        minutes=1,
    )


def _etcd() -> Recipe:
    """Debian's 3.4.23 lets API servers start, but WatchList waits there for progress that it never tells."""
    sources = HERE / "etcd"
    return Recipe(
        name="etcd",
        version=required_version(sources / "go.mod", "go.etcd.io/etcd/server/v3"),
        sources=(*_module(sources), sources / "main.go"),
        packages=(".",),
        settings={},
        minutes=1,
    )


def _kubernetes(minor: str) -> Recipe:
    sources = HERE / "kubernetes"
    version = required_version(sources / minor / "go.mod", "k8s.io/kubernetes")
    major, number = minor.split(".")
    settings = {
        "gitVersion": f"v{version}",
        "gitMajor": major,
        "gitMinor": number,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return Recipe(
        name="kubernetes",
        version=version,
        sources=(*_module(sources / minor), sources / "main.go"),
        packages=(".",),
        settings={
            f"{package}.{name}": value for package in VERSION_PACKAGES for name, value in settings.items()
        },
        links=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"),
        minutes=14,
    )


def _helm() -> Recipe:
    module, sources = "helm.sh/helm/v3", HERE / "helm"
    version = required_version(sources / "go.mod", module)
    return Recipe(
        name="helm",
        version=version,
        sources=_module(sources),
        packages=(f"{module}/cmd/helm",),
        settings={f"{module}/internal/version.version": f"v{version}"},
        minutes=2,
    )


def _module(directory: Path) -> tuple[Path, ...]:
    return directory / "go.mod", directory / "go.sum"


def main() -> int:
    """Build whatever is missing."""
    try:
        for recipe in (_containerd2(), _etcd(), _helm(), _kubernetes(kubernetes_minor())):
            built(recipe)
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
