"""`inplaced agent` as a pod of its account: with the token, CA and environment that a kubelet gives."""

import shlex
import sys
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from daemon.kube.access import SERVICE_ACCOUNT
from tests.testbed.agent import Agent
from tests.testbed.api import Api
from tests.testbed.processes import Process

QUIET = {"status-interval": "2", "pull-backoff": "0.05", "pull-backoff-max": "0.2", "space-retry": "0.2"}
"""As in a cluster, but quick to retry."""


@dataclass(slots=True, eq=False)
class PodAgent(Agent):
    """One agent of a cluster's node. *directory* must be short, as its socket lies in it."""

    api: Api = field(kw_only=True)
    """The API server as the pod's service account sees it, by a token."""
    node: str = field(kw_only=True)
    namespace: str = field(default="inplaced", kw_only=True)
    python: str = field(default=sys.executable, kw_only=True)
    """The interpreter, for measurements: what is installed beside the agent weighs, too."""

    def __post_init__(self) -> None:
        account = self.directory / "account"
        account.mkdir(parents=True, exist_ok=True)
        (account / "token").touch(mode=0o600)
        (account / "token").write_text(self.api.token)
        (account / "ca.crt").write_bytes(self.api.ca.read_bytes())
        flags = {
            "node-name": self.node,
            "namespace": self.namespace,
            "runtime": ",".join(str(path) for path in self.runtimes),
            "registry-hosts-dir": str(self.certificates),
            "socket": str(self.socket),
            "listen": "",
            "disk-reserve-percent": "1",
            "disk-floor-mib": "1",
            "log-format": "json",
        }
        words = [
            word
            for name, value in (flags | QUIET | dict(self.settings)).items()
            for word in (f"--{name}", value)
        ]
        # Each agent finds its own account at the one place where all look for it.
        mount = f"mkdir -p {SERVICE_ACCOUNT} && mount --bind {shlex.quote(str(account))} {SERVICE_ACCOUNT}"
        inner = f"{mount} && exec {shlex.join([self.python, '-m', 'daemon', 'agent', *words])}"
        address = urlsplit(self.api.url)
        environ = {
            "KUBERNETES_SERVICE_HOST": address.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(address.port or 443),
        }
        command = ["unshare", "--mount", "--propagation=private", "sh", "-c", inner]
        self._process = Process(command, self.directory / "agent.log", environ)
