"""The product's own process under test: `inplaced standalone` with directories of its own."""

import asyncio
import base64
import http.client
import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml
from asyncinotify import Inotify, Mask

from daemon.debug.views import JobView, NodeView, PullView
from tests.testbed.processes import Process
from tests.testbed.session import TestbedError

_REQUEST_TIMEOUT = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_REQUEST_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(slots=True, eq=False)
class Agent:
    """One agent. *directory* must be short, as its socket lies in it."""

    directory: Path
    runtimes: Sequence[Path]
    certificates: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further flags, without dashes."""
    _process: Process = field(init=False)

    def __post_init__(self) -> None:
        self.manifests.mkdir(parents=True, exist_ok=True)
        flags = {
            "manifests": str(self.manifests),
            "state": str(self.state),
            "runtime": ",".join(str(path) for path in self.runtimes),
            "registry-hosts-dir": str(self.certificates),
            "socket": str(self.socket),
            "listen": "",
            "disk-reserve-percent": "1",
            "disk-floor-mib": "1",
            "log-format": "json",
        } | dict(self.settings)
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        command = [sys.executable, "-m", "daemon", "standalone", *words]
        self._process = Process(command, self.directory / "agent.log")

    @property
    def manifests(self) -> Path:
        """Where manifests are read from."""
        return self.directory / "manifests"

    @property
    def state(self) -> Path:
        """Where status is kept."""
        return self.directory / "state"

    @property
    def socket(self) -> Path:
        """Where requests are taken."""
        return self.directory / "agent.sock"

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process.running

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self._process.log.read_text(errors="replace") if self._process.log.exists() else ""

    def write(self, name: str, *documents: Mapping[str, Any]) -> None:
        """Put a manifest file in place, in one step as editors and configuration tools do."""
        self.draft(name, *documents)
        self.publish(name)

    def draft(self, name: str, *documents: Mapping[str, Any]) -> None:
        """Write a manifest file that the agent does not see yet."""
        draft = self.manifests / f".{name}.new"
        draft.write_text(yaml.safe_dump_all([dict(document) for document in documents]))

    def publish(self, name: str) -> None:
        """Put a drafted manifest file in place."""
        (self.manifests / f".{name}.new").rename(self.manifests / f"{name}.yaml")

    def withdraw(self, name: str) -> None:
        """Remove a manifest file."""
        (self.manifests / f"{name}.yaml").unlink()

    async def start(self) -> None:
        """Start it and return when it answers on its socket."""
        self._process.start()
        deadline = time.monotonic() + 20.0
        while not await self._answers():
            if not self.running or time.monotonic() > deadline:
                raise self._process.failed("the agent does not answer")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Ask it to end and return when it has."""
        await self._process.stop(20.0)

    async def kill(self) -> None:
        """SIGKILL."""
        await self._process.kill()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send(number)

    async def _answers(self) -> bool:
        try:
            await self.get("/livez")
        except OSError:
            return False
        return True

    async def get(self, path: str, **headers: str) -> bytes:
        """Body of a GET on the agent's socket. Raises OSError when it cannot be reached."""
        status, content = await asyncio.to_thread(self._request, "GET", path, headers, None)
        return _good(f"GET {path}", status, content)

    async def probe(self, path: str) -> tuple[int, str]:
        """Status and text that a probe is answered with."""
        status, content = await asyncio.to_thread(self._request, "GET", path, {}, None)
        return status, content.decode()

    async def post(self, path: str, body: object) -> bytes:
        """Body of a POST of JSON."""
        encoded = json.dumps(body).encode()
        return _good(f"POST {path}", *await asyncio.to_thread(self._request, "POST", path, {}, encoded))

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        connection = _UnixConnection(self.socket)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()
        return answer.status, content

    async def view(self) -> NodeView:
        """All that can be seen."""
        return msgspec.json.decode(await self.get("/statusz", Accept="application/json"), type=NodeView)

    async def job(self, name: str) -> JobView:
        """One job. Raises KeyError."""
        return {job.name: job for job in (await self.view()).jobs}[name]

    async def pull(self, ref: str) -> PullView:
        """One wanted image. Raises KeyError."""
        return {pull.image: pull for pull in (await self.view()).pulls}[ref]

    async def until(self, reached: Callable[[NodeView], bool], what: str, timeout: float = 60.0) -> NodeView:
        """Wait for a state of the view; it fails with the agent's log."""
        deadline = time.monotonic() + timeout
        while not reached(view := await self.view()):
            if time.monotonic() > deadline:
                raise self._process.failed(f"{what}: not within {timeout:g} s; last view: {view}")
            await asyncio.sleep(0.02)
        return view

    async def settled(self, names: Set[str], refs: Set[str], timeout: float) -> dict[str, dict[str, Any]]:
        """Wait until the status files of these jobs tell their end, without asking the agent; return them.

        *refs* are the images they want: files of the same names that went before do not count.
        """
        folder = self.state / "imagepulljobs" / "default"
        ended: dict[str, dict[str, Any]] = {}
        with Inotify() as inotify:
            inotify.add_watch(folder, Mask.MOVED_TO)
            for name in names:
                _take_ended(folder / f"{name}.yaml", refs, ended)
            async with asyncio.timeout(timeout):
                while ended.keys() < names:
                    event = await inotify.get()
                    if event.name is not None and event.name.stem in names - ended.keys():
                        _take_ended(folder / event.name.name, refs, ended)
        return ended

    async def ended(self, *names: str, timeout: float = 60.0) -> dict[str, JobView]:
        """Wait until all these jobs have ended, and return them by name."""
        wanted = set(names)
        view = await self.until(
            lambda seen: wanted <= {job.name for job in seen.jobs if job.completed_at is not None},
            f"end of {', '.join(names)}",
            timeout,
        )
        return {job.name: job for job in view.jobs if job.name in wanted}


def _good(request: str, status: int, content: bytes) -> bytes:
    if status >= 400:
        raise TestbedError(f"{request}: {status} {content.decode(errors='replace')}")
    return content


def _take_ended(path: Path, refs: Set[str], ended: dict[str, dict[str, Any]]) -> None:
    """Note the job in *path*, if it has ended and is about one of *refs*."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    if b"completionTime" not in text:
        return  # Not worth the time of reading it, which a measurement would count.
    job = yaml.load(text, Loader=yaml.CSafeLoader)
    if job["spec"]["image"] in refs and job.get("status", {}).get("completionTime"):
        ended[path.stem] = job


def secret(
    name: str, host: str, username: str, password: str, *, form: str = "dockerconfigjson"
) -> dict[str, Any]:
    """The manifest of a Secret with one registry's credential, in either of Kubernetes' two forms."""
    auths = {host: {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}}
    content = {"auths": auths} if form == "dockerconfigjson" else auths
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": f"kubernetes.io/{form}",
        "data": {f".{form}": base64.b64encode(json.dumps(content).encode()).decode()},
    }


def pull_job(name: str, image: str, **spec: object) -> dict[str, Any]:
    """The manifest of an ImagePullJob."""
    return {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "ImagePullJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"image": image} | spec,
    }
