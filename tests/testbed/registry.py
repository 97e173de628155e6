"""Debian's registry as a process of the test bed: anonymous or with basic auth, plain or with TLS."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from tests.testbed.certificates import Certificates
from tests.testbed.containerd_config import trust
from tests.testbed.images import Build
from tests.testbed.processes import Process, free_port, until
from tests.testbed.pushing import Pusher
from tests.testbed.session import current_session

START_DEADLINE: Final = 10.0
LINE: Final = re.compile(
    r'^\S+ - (?P<user>\S+) \[[^]]*\] "(?P<method>[A-Z]+) (?P<path>\S+) [^"]*" (?P<status>\d+) (?P<bytes>\d+) '
)
"""The Apache combined log format, which the registry writes to its standard output."""


@dataclass(frozen=True, slots=True)
class Access:
    """One answered request."""

    method: str
    path: str
    status: int
    bytes: int


@dataclass(slots=True, eq=False)
class Registry:
    """One registry; what was pushed survives a restart on the same port."""

    directory: Path
    address: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    username: str = ""
    """Empty: everybody may pull and push."""
    password: str = field(default="", repr=False)
    certificates: Certificates | None = None
    """None: plain HTTP."""
    _process: Process = field(init=False)

    def __post_init__(self) -> None:
        command = ["docker-registry", "serve", str(self.directory / "config.yml")]
        # The registry reads REGISTRY_* as settings, and would trace to nowhere.
        self._process = Process(command, self.directory / "registry.log", {"OTEL_TRACES_EXPORTER": "none"})

    @property
    def host(self) -> str:
        """host:port, as it stands in references."""
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"{'https' if self.certificates else 'http'}://{self.host}"

    @property
    def ca(self) -> Path | None:
        """The file to trust, when it speaks TLS."""
        return self.certificates.ca if self.certificates else None

    async def start(self) -> None:
        """Start it and return when it answers. Raises TestbedError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port(self.address)
        self._write_configuration()
        trust(current_session().certificates, self.host, ca=self.ca, plain_http=self.ca is None)
        self._process.start()
        try:
            await until(self._answers, timeout=START_DEADLINE, what=f"the registry on {self.host}")
        except BaseException:
            await self._process.kill()
            raise

    async def stop(self) -> None:
        """Stop it. Its files stay."""
        await self._process.kill()

    def remove(self) -> None:
        """Remove its files. It must be stopped."""
        shutil.rmtree(self.directory, ignore_errors=True)

    async def put(self, build: Build, repository: str, tags: Sequence[str]) -> None:
        """Push *build* with our own credentials."""
        await self.pusher().push(build, repository, tags)

    def pusher(self, chunk: int | None = None) -> Pusher:
        """What pushes to it."""
        return Pusher(self.url, self.username, self.password, self.ca, chunk)

    def accesses(self, repository: str = "") -> list[Access]:
        """What was asked of it so far, in order: of *repository* only, when given."""
        lines = self._process.log.read_text(errors="replace").splitlines()
        found = [
            Access(m["method"], m["path"], int(m["status"]), int(m["bytes"]))
            for line in lines
            if (m := LINE.match(line))
        ]
        top = f"/v2/{repository}/" if repository else "/"
        return [access for access in found if access.path.startswith(top)]

    def _write_configuration(self) -> None:
        parts = [
            "version: 0.1\nlog: {level: warn}\n",
            f"storage:\n  filesystem: {{rootdirectory: {self.directory}/storage}}\n",
            "  delete: {enabled: true}\n",
            f"http:\n  addr: {self.host}\n  secret: testbed\n",
        ]
        if self.certificates:
            parts.append(f"  tls: {{certificate: {self.certificates.chain}, key: {self.certificates.key}}}\n")
        if self.username:
            passwords = self.directory / "htpasswd"
            _write_password(passwords, self.username, self.password)
            parts.append(f"auth:\n  htpasswd: {{realm: testbed, path: {passwords}}}\n")
        (self.directory / "config.yml").write_text("".join(parts))

    async def _answers(self) -> bool:
        if not self._process.running:
            raise self._process.failed("the registry ended")
        pusher = self.pusher()
        try:
            async with pusher.session() as session, session.get(f"{self.url}/v2/") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


def _write_password(path: Path, username: str, password: str) -> None:
    """Use bcrypt with the least cost: the registry computes it at each request."""
    subprocess.run(
        ["htpasswd", "-iBc", "-C", "4", str(path), username],
        input=password,
        text=True,
        check=True,
        capture_output=True,
    )
