"""A kubelet of the test bed: all its files below one directory, all its cgroups below the session's."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.testbed import session
from tests.testbed.addresses import Addresses
from tests.testbed.api import Api
from tests.testbed.authority import Credentials
from tests.testbed.processes import Process
from tests.testbed.programs import kubernetes_programs

PLUGINS: Final = Path("/usr/lib/cni")
SYSCTLS: Final = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
"""What a kubelet sets at its start (its pkg/kubelet/cm, setupKernelTunables), for the whole machine."""
LOGS: Final = Path("/var/log")


@dataclass(slots=True, eq=False)
class Kubelet:
    """One kubelet, for one node. It may be stopped and started while pods go on running."""

    directory: Path
    node: str
    addresses: Addresses
    api: Api
    """As the node sees it."""
    serving: Credentials
    ca: Path
    runtime: str
    """Endpoint of its container runtime."""
    cgroup: str
    """Parent of the cgroups of all pods."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of KubeletConfiguration."""
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        flags = {
            "config": self.directory / "config.json",
            "kubeconfig": self.api.kubeconfig,
            "hostname-override": self.node,
            "node-ip": self.addresses.node,
            "root-dir": self.root,
            "cert-dir": self.directory / "pki",
            "v": 2,
        }
        words = [f"--{name}={value}" for name, value in flags.items()]
        self.process = Process([kubernetes_programs()["kubelet"], *words], self.directory / "kubelet.log")

    @property
    def root(self) -> Path:
        """Where volumes of pods are."""
        return self.directory / "root"

    def start(self) -> None:
        """Start it. Whether the node is ready, the API server tells."""
        self._prepare()
        self.process.start()

    async def stop(self) -> None:
        """End it alone: what runs in its pods goes on."""
        await self.process.kill()

    def _prepare(self) -> None:
        for directory in (self.root, self.directory / "pki"):
            directory.mkdir(parents=True, exist_ok=True)
        shield_machine()
        for top in cgroup_hierarchies():
            (top / self.cgroup.strip("/")).mkdir(parents=True, exist_ok=True)
        # There is no DNS: nothing answers there, and says so at once.
        (self.directory / "resolv.conf").write_text(f"nameserver {self.addresses.node}\n")
        (self.directory / "config.json").write_text(json.dumps(self._configuration(), indent=1))

    def _configuration(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.addresses.node,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.ca)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(self.serving.certificate),
            "tlsPrivateKeyFile": str(self.serving.key),
            "healthzPort": 0,
            "containerRuntimeEndpoint": self.runtime,
            "volumePluginDir": str(self.directory / "volumeplugins"),
            "resolvConf": str(self.directory / "resolv.conf"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.cgroup,
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            # The machine's disk is shared by all that it does: pods of the test bed are not evicted for it.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            **self.settings,
        }


def cgroup_hierarchies() -> list[Path]:
    """The top of each cgroup hierarchy that may hold cgroups of pods, in version 1, 2 or both."""
    if (session.CGROUPS / "cgroup.controllers").exists():
        return [session.CGROUPS]
    return [path for path in session.CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def shield_machine() -> None:
    """Put files of our own over what a kubelet writes of the machine, for this session."""
    directory = session.current_session().directory / "machine"
    logs = directory / "log"
    logs.mkdir(parents=True, exist_ok=True)
    _cover(LOGS, logs)
    for name, value in SYSCTLS.items():
        file = directory / name.replace("/", ".")
        file.write_text(f"{value}\n")
        _cover(Path("/proc/sys") / name, file)


def _cover(target: Path, ours: Path) -> None:
    """Mount points do not tell whether it is covered: a newer /proc may lie over all of them."""
    if target.exists() and not target.samefile(ours):
        subprocess.run(["mount", "--bind", str(ours), str(target)], check=True)


def connect_pods(directory: Path, addresses: Addresses) -> None:
    """Tell a runtime, whose files are in *directory*, how to connect pods to the node's bridge."""
    configuration = directory / "cni" / "conf"
    configuration.mkdir(parents=True)
    (directory / "cni" / "bin").symlink_to(PLUGINS)
    ranges = [[{"subnet": addresses.pods, "gateway": addresses.node}]]
    bridge = {
        "type": "bridge",
        "bridge": addresses.bridge,
        "ipam": {
            "type": "host-local",
            "dataDir": str(directory / "cni" / "taken"),
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    document = {"cniVersion": "0.4.0", "name": addresses.bridge, "plugins": [bridge]}
    (configuration / "10-bridge.conflist").write_text(json.dumps(document))
