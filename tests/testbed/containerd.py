"""A containerd of the test bed, of either supported flavour, with everything it owns below one directory."""

import asyncio
import os
import shutil
import signal
import socket as sockets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError

from tests.testbed import containerd_config, programs, session
from tests.testbed.processes import Process, end_others, until

Flavour = Literal["1.6", "2.3"]
FLAVOURS: Final[tuple[Flavour, ...]] = ("1.6", "2.3")
START_DEADLINE: Final = 30.0
NAMESPACE: Final = "k8s.io"
"""containerd's namespace for all that CRI made."""


class _Bytes(CodecBase):
    """Messages as they are on the wire: enough to ask for a status without generated code."""

    __content_subtype__ = "proto"

    def encode(self, message: object, message_type: object) -> bytes:
        return bytes(message)  # type: ignore[call-overload,no-any-return]  # only ever given bytes

    def decode(self, data: bytes, message_type: object) -> bytes:
        return data


@dataclass(slots=True, eq=False)
class Containerd:
    """One containerd with its CRI plugin, on a socket that stays the same over restarts.

    ``disk_size`` (bytes) puts its root on a file system of that size, to be filled by a test.
    """

    flavour: Flavour
    directory: Path
    """Short: its sockets lie in it."""
    sandbox_image: str = "127.0.0.1:5000/testbed/pause:1"
    disk_size: int | None = None
    snapshotter: Literal["overlayfs", "native"] = "overlayfs"
    certificates: Path | None = None
    """Its ``certs.d``; by default the session's, in which the test bed's registries enter themselves."""
    settings: containerd_config.Settings = field(init=False)
    _process: Process = field(init=False)

    def __post_init__(self) -> None:
        self.settings = containerd_config.Settings(
            directory=self.directory,
            sandbox_image=self.sandbox_image,
            snapshotter=self.snapshotter,
            certificates=self.certificates or session.current_session().certificates,
        )
        command = [str(self._binary("containerd")), "--config", str(self.directory / "config.toml")]
        environ = {"PATH": f"{self._binaries()}:{os.environ['PATH']}", "NOTIFY_SOCKET": str(self._notify)}
        self._process = Process(command, self.directory / "containerd.log", environ)

    @property
    def socket(self) -> Path:
        """Where gRPC is served."""
        return self.settings.socket

    @property
    def endpoint(self) -> str:
        """The socket as CRI clients write it."""
        return f"unix://{self.socket}"

    @property
    def root(self) -> Path:
        """Where images are kept."""
        return self.settings.root

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self._process.log

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process.running

    @property
    def cgroup_parent(self) -> str:
        """For the ``cgroup_parent`` of pod sandboxes, so that nothing is left of them."""
        return f"{session.current_session().cgroup}/{self.directory.name}"

    @property
    def _notify(self) -> Path:
        return self.directory / "notify"

    def trust(self, host: str, *, ca: Path | None = None, plain_http: bool = True) -> None:
        """Say how the registry *host* is reached. Read by containerd at each pull."""
        containerd_config.trust(self.settings.certificates, host, ca=ca, plain_http=plain_http)

    async def start(self) -> float:
        """Start it, return when CRI answers; the answer is how many seconds that took."""
        session.current_session()
        self._prepare()
        started = time.monotonic()
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM | sockets.SOCK_NONBLOCK) as notify:
            self._notify.unlink(missing_ok=True)
            notify.bind(str(self._notify))
            self._process.start()
            try:
                await self._ready(notify)
            except (TimeoutError, session.TestbedError) as error:
                failure = self._process.failed(f"containerd {self.flavour} did not become ready")
                await self._process.kill()
                raise failure from error
        return time.monotonic() - started

    async def stop(self) -> None:
        """Stop it and everything it started, and free what it mounted. Its files stay."""
        await self._process.stop()
        await self._clean_up()

    async def kill(self) -> None:
        """End the daemon alone with SIGKILL: shims, containers and half-done work stay as they are."""
        await self._process.kill()

    async def restart(self) -> float:
        """Stop the daemon alone, kindly, and start it again on the same socket."""
        await self._process.stop()
        return await self.start()

    def freeze(self) -> None:
        """Make it hang: calls are taken and never answered."""
        self._process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send(signal.SIGCONT)

    async def ctr(self, *arguments: str, timeout: float = 120.0) -> str:
        """Run containerd's own client against it and return what it printed. Raises TestbedError."""
        command = [str(self._binary("ctr")), "--address", str(self.socket), "--namespace", NAMESPACE]
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(timeout):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise session.TestbedError(
                f"ctr {' '.join(arguments)}: {errors.decode(errors='replace').strip()}"
            )
        return output.decode()

    def log_since(self, offset: int) -> str:
        """The last lines of the log, from byte *offset* on."""
        return self._process.tail(since=offset)

    def remove(self) -> None:
        """Remove its files. It must be stopped."""
        session.put_away(self.directory)

    def _binaries(self) -> Path:
        return programs.containerd2_binaries() if self.flavour == "2.3" else Path("/usr/bin")

    def _binary(self, name: str) -> Path:
        return self._binaries() / name

    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.disk_size is not None and not self.settings.disk.is_mount():
            containerd_config.mount_disk(self.settings.disk, self.disk_size)
        configuration = containerd_config.toml(self.flavour, self.settings)
        (self.directory / "config.toml").write_text(configuration)

    async def _ready(self, notify: sockets.socket) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.ensure_future(self._process.ended(START_DEADLINE))
        heard = asyncio.ensure_future(_notified(loop, notify))
        try:
            async with asyncio.timeout(START_DEADLINE):
                await asyncio.wait((ended, heard), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise session.TestbedError("it ended")
            # 1.6 says it is ready before its CRI plugin is.
            await until(self._answers, timeout=START_DEADLINE, what="CRI Status")
        finally:
            ended.cancel()
            heard.cancel()
            await asyncio.gather(ended, heard, return_exceptions=True)

    async def _answers(self) -> bool:
        channel = Channel(path=str(self.socket), codec=_Bytes())
        try:
            status = UnaryUnaryMethod(channel, "/runtime.v1.RuntimeService/Status", bytes, bytes)
            # In a task of its own: grpclib cancels the one it runs in when the connection is lost.
            await asyncio.wait_for(status(b""), 5.0)
        except (OSError, GRPCError, StreamTerminatedError):
            return False
        finally:
            channel.close()
        return True

    async def _clean_up(self) -> None:
        ours = f"-address {self.socket} "
        await end_others(pid for pid, line in session.processes().items() if ours in f"{line} ")  # Shims.
        session.remove_cgroup(self.cgroup_parent)
        session.unmount_below(self.directory)
        shutil.rmtree(self.settings.state, ignore_errors=True)


async def _notified(loop: asyncio.AbstractEventLoop, notify: sockets.socket) -> None:
    """Wait for READY=1, see sd_notify(3)."""
    while b"READY=1" not in await loop.sock_recv(notify, 4096):
        pass
