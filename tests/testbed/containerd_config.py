"""The configuration of a containerd of the test bed: all below its own directory, only what is needed."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNNEEDED_1: Final = (
    "io.containerd.grpc.v1.healthcheck",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.monitor.v1.cgroups",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
)
UNNEEDED_2: Final = (
    "io.containerd.differ.v1.erofs",
    "io.containerd.grpc.v1.healthcheck",
    "io.containerd.image-verifier.v1.bindir",
    "io.containerd.internal.v1.tracing",
    "io.containerd.monitor.container.v1.restart",
    "io.containerd.monitor.task.v1.cgroups",
    "io.containerd.mount-handler.v1.erofs",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.tracing.processor.v1.otlp",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What differs between two containerds of the same flavour."""

    directory: Path
    sandbox_image: str
    snapshotter: str
    certificates: Path
    """One folder a registry host."""

    @property
    def socket(self) -> Path:
        """Where gRPC is served."""
        return self.directory / "run" / "containerd.sock"

    @property
    def disk(self) -> Path:
        """Where a small file system is mounted when one is asked for."""
        return self.directory / "disk"

    @property
    def root(self) -> Path:
        """What outlives the process."""
        return self.disk / "root"

    @property
    def state(self) -> Path:
        """What does not outlive a boot."""
        return self.directory / "state"


def mount_disk(directory: Path, size: int) -> None:
    """Mount an empty file system of *size* bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "disk", str(directory)], check=True
    )


def trust(directory: Path, host: str, *, ca: Path | None = None, plain_http: bool = True) -> None:
    """Say how *host* is reached to every containerd whose ``certs.d`` is *directory*; read at each pull."""
    folder = directory / host
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://{host}" if plain_http and ca is None else f"https://{host}"
    trusted = f'  ca = "{ca}"\n' if ca else ""
    text = f'server = "{url}"\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n{trusted}'
    (folder / "hosts.toml").write_text(text)


def toml(flavour: str, settings: Settings) -> str:
    """The text of ``config.toml``."""
    return (_TEXT_1 if flavour == "1.6" else _TEXT_2).format_map(_values(flavour, settings))


def _values(flavour: str, settings: Settings) -> Mapping[str, str]:
    unneeded = UNNEEDED_1 if flavour == "1.6" else UNNEEDED_2
    return {
        "directory": str(settings.directory),
        "root": str(settings.root),
        "state": str(settings.state),
        "socket": str(settings.socket),
        "certificates": str(settings.certificates),
        "sandbox_image": settings.sandbox_image,
        "snapshotter": settings.snapshotter,
        "unneeded": ", ".join(f'"{name}"' for name in unneeded),
    }


# restrict_oom_score_adj: without CAP_SYS_RESOURCE a lower score cannot be set, and runc would die of it.
_TEXT_1 = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [{unneeded}]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox_image}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{directory}/cni/bin"
    conf_dir = "{directory}/cni/conf"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certificates}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{directory}/runc"
        SystemdCgroup = false
"""

_TEXT_2 = """\
version = 3
root = "{root}"
state = "{state}"
disabled_plugins = [{unneeded}]
imports = []
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{sandbox_image}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{certificates}"
[plugins."io.containerd.transfer.v1.local"]
  config_path = "{certificates}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  cdi_spec_dirs = ["{directory}/cdi"]
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{directory}/cni/bin"]
    conf_dir = "{directory}/cni/conf"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      Root = "{directory}/runc"
      SystemdCgroup = false
"""
