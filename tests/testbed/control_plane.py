"""etcd and kube-apiserver, and nothing else: a real API in a few seconds, for whatever needs no node."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.testbed.addresses import Addresses, free_addresses
from tests.testbed.api import Api
from tests.testbed.authority import Authority, Credentials
from tests.testbed.processes import Process, until
from tests.testbed.programs import kubernetes_minor, kubernetes_programs
from tests.testbed.session import ADDRESS, remove_tree

START_DEADLINE: Final = 60.0
PAUSE: Final = 0.03
"""Seconds between two looks at whether it is ready."""
ETCD_PORT: Final = 2379
API_PORT: Final = 6443
ISSUER: Final = "https://kubernetes.default.svc"
ADMIN: Final = "testbed-admin"
MASTERS: Final = "system:masters"
BETA: Final = {
    "feature-gates": "MutatingAdmissionPolicy=true",
    "runtime-config": "admissionregistration.k8s.io/v1beta1=true",
}
"""Turns on what Kubernetes 1.34 can do but leaves to be asked for, and later ones do by themselves."""


@dataclass(slots=True, eq=False)
class ControlPlane:
    """An API server with its etcd. What is stored survives a restart of either, on the same addresses."""

    directory: Path
    exposed: bool = False
    """Whether it is for pods, too: then it listens on the ClusterIP of ``kubernetes``, which must exist."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Further flags of the API server, without dashes."""
    addresses: Addresses = field(init=False)
    authority: Authority = field(init=False)
    etcd: Process = field(init=False)
    apiserver: Process = field(init=False)
    api: Api = field(init=False)
    """As an administrator sees it."""

    def __post_init__(self) -> None:
        self.authority = Authority(self.directory / "pki")

    @property
    def url(self) -> str:
        """Where the API is served."""
        return f"https://{self._host}:{self._port}"

    async def start(self) -> float:
        """Start both and return when the API is ready; the answer is how many seconds that took."""
        started = time.monotonic()
        self.reserve_addresses()
        await asyncio.to_thread(self._prepare)
        try:
            self.etcd.start()
            await self.start_apiserver()
        except BaseException:
            await self.stop()
            raise
        return time.monotonic() - started

    def reserve_addresses(self) -> None:
        """Take addresses that nobody else has, where that was not done before."""
        if not hasattr(self, "addresses"):
            self.addresses = free_addresses()

    async def stop(self) -> None:
        """End both at once: nothing of them is kept."""
        if not hasattr(self, "apiserver"):
            return
        await asyncio.gather(self.apiserver.kill(), self.etcd.kill())

    def remove(self) -> None:
        """Remove its files and give its addresses back. It must be stopped."""
        remove_tree(self.directory)
        self.addresses.give_back()

    async def start_apiserver(self) -> None:
        """Start the API server alone, and return when it is ready. Raises TestbedError."""
        self.apiserver.start()
        async with self.api.session() as session:
            await until(
                lambda: self._ready(session), timeout=START_DEADLINE, what="the API server", pause=PAUSE
            )

    async def stop_apiserver(self) -> None:
        """End the API server alone, as a crash would."""
        await self.apiserver.kill()

    async def restart_etcd(self) -> None:
        """End etcd as a crash would, and start it again on what it had stored."""
        await self.etcd.kill()
        self.etcd.start()

    def client(self, name: str, groups: tuple[str, ...] = ()) -> Api:
        """The API as user *name* of *groups* sees it, by a client certificate."""
        credentials = self.authority.client(name, groups)
        kubeconfig = credentials.certificate.with_suffix(".kubeconfig")
        made = Api(
            url=self.url, ca=self.authority.certificate, kubeconfig=kubeconfig, credentials=credentials
        )
        made.write_kubeconfig()
        return made

    @property
    def _host(self) -> str:
        return self.addresses.kubernetes if self.exposed else self.addresses.loopback

    @property
    def _port(self) -> int:
        return 443 if self.exposed else API_PORT

    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        programs = kubernetes_programs()
        self.authority.create()
        self.api = self.client(ADMIN, (MASTERS,))
        etcd = [programs["etcd"], *_words(self._etcd_flags())]
        self.etcd = Process(etcd, self.directory / "etcd.log")
        apiserver = [programs["kube-apiserver"], *_words(self._apiserver_flags())]
        self.apiserver = Process(apiserver, self.directory / "apiserver.log")

    def _etcd_flags(self) -> dict[str, str]:
        clients = f"http://{self.addresses.loopback}:{ETCD_PORT}"
        peers = f"http://{self.addresses.loopback}:{ETCD_PORT + 1}"
        return {
            "data-dir": f"{self.directory}/etcd",
            # What is stored outlives the process, not the machine.
            "unsafe-no-fsync": "true",
            "listen-client-urls": clients,
            "advertise-client-urls": clients,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"default={peers}",
            # A lone member elects itself after this long.
            "heartbeat-interval": "10",
            "election-timeout": "100",
            "logger": "zap",
            "log-level": "warn",
        }

    def _apiserver_flags(self) -> dict[str, str]:
        addresses = [self._host, self.addresses.kubernetes, "127.0.0.1"]
        server = self.authority.server("apiserver", addresses, _SERVICE_NAMES)
        kubelet = self.authority.client("apiserver-to-kubelet", (MASTERS,))
        accounts = self.authority.key_pair("accounts")
        return {
            "etcd-servers": f"http://{self.addresses.loopback}:{ETCD_PORT}",
            "bind-address": self._host,
            "secure-port": str(self._port),
            # It may be no loopback address; nobody uses the endpoint, as there is no proxy.
            "advertise-address": self._host if self.exposed else ADDRESS,
            "service-cluster-ip-range": self.addresses.services,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "service-account-issuer": ISSUER,
            "service-account-key-file": str(accounts.certificate),
            "service-account-signing-key-file": str(accounts.key),
            "client-ca-file": str(self.authority.certificate),
            "kubelet-certificate-authority": str(self.authority.certificate),
            "kubelet-preferred-address-types": "InternalIP",
            "profiling": "false",
            **_pair("tls-cert-file", "tls-private-key-file", server),
            **_pair("kubelet-client-certificate", "kubelet-client-key", kubelet),
            **(BETA if kubernetes_minor() == "1.34" else {}),
            **self.flags,
        }

    async def _ready(self, session: aiohttp.ClientSession) -> bool:
        for process, name in ((self.etcd, "etcd"), (self.apiserver, "the API server")):
            if not process.running:
                raise process.failed(f"{name} ended")
        try:
            async with session.get("/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


_SERVICE_NAMES: Final = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")


def _pair(certificate: str, key: str, credentials: Credentials) -> dict[str, str]:
    return {certificate: str(credentials.certificate), key: str(credentials.key)}


def _words(flags: Mapping[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]
