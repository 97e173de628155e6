"""The way to an API server: its address, who we are there, and the few requests that tests make."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from tests.testbed.authority import Credentials
from tests.testbed.programs import kubernetes_programs
from tests.testbed.session import TestbedError

DEADLINE: Final = 60.0
PATCHES: Final = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class RefusedError(TestbedError):
    """The API server answered with a failure."""

    def __init__(self, asked: str, status: int, message: str) -> None:
        super().__init__(f"{asked}: {status} {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """An API server as one user sees it: with a client certificate, or with a token."""

    url: str
    """Without a slash at the end."""
    ca: Path
    kubeconfig: Path
    """For programs, with the same access."""
    credentials: Credentials | None = None
    token: str = field(default="", repr=False)

    def with_token(self, token: str) -> "Api":
        """The same server as the holder of *token* sees it."""
        path = Path(tempfile.mkdtemp(dir=self.kubeconfig.parent, prefix="as-")) / "kubeconfig"
        seen = Api(url=self.url, ca=self.ca, kubeconfig=path, token=token)
        seen.write_kubeconfig()
        return seen

    def write_kubeconfig(self, namespace: str = "default") -> None:
        """Write the file that ``kubeconfig`` names; all it needs stands in it."""
        user: dict[str, str] = {"token": self.token} if self.token else {}
        if self.credentials:
            user["client-certificate-data"] = _encoded(self.credentials.certificate)
            user["client-key-data"] = _encoded(self.credentials.key)
        cluster = {"server": self.url, "certificate-authority-data": _encoded(self.ca)}
        context = {"cluster": "testbed", "user": "testbed", "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": "testbed", "user": user}],
            "contexts": [{"name": "testbed", "context": context}],
            "current-context": "testbed",
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(document))

    def ssl_context(self) -> ssl.SSLContext:
        """Trusts this server, and shows our certificate where we have one."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.credentials:
            context.load_cert_chain(self.credentials.certificate, self.credentials.key)
        return context

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """For many requests; paths are given from the root."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        timeout = aiohttp.ClientTimeout(total=DEADLINE, sock_connect=5.0)
        connector = aiohttp.TCPConnector(ssl=self.ssl_context())
        async with aiohttp.ClientSession(
            self.url, headers=headers, timeout=timeout, connector=connector
        ) as session:
            yield session

    async def request(self, method: str, path: str, body: object = None, *, patch: str = "merge") -> Any:
        """Make one request and return the decoded answer. Raises RefusedError.

        *patch* names the kind of a PATCH: merge, json, strategic or apply.
        """
        kind = PATCHES[patch] if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        async with (
            self.session() as session,
            session.request(method, path, data=data, headers={"Content-Type": kind}) as answer,
        ):
            text = await answer.text()
        if answer.status >= 400:
            raise RefusedError(f"{method} {path}", answer.status, _message(text))
        return json.loads(text) if answer.content_type == "application/json" else text

    async def get(self, path: str) -> Any:
        """Read one object or list. Raises RefusedError."""
        return await self.request("GET", path)

    async def kubectl(self, *arguments: str, stdin: str = "", timeout: float = DEADLINE) -> str:
        """Run kubectl and return what it printed. Raises TestbedError with its errors."""
        program = await asyncio.to_thread(kubernetes_programs().__getitem__, "kubectl")
        return await run([program, "--kubeconfig", str(self.kubeconfig), *arguments], stdin, timeout)

    async def apply(self, *documents: Mapping[str, Any]) -> None:
        """Have kubectl apply these objects, server side."""
        text = yaml.safe_dump_all([dict(document) for document in documents])
        await self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    async def create_if_missing(self, collection: str, body: Mapping[str, Any]) -> Any:
        """Create an object, or read the one of its name."""
        try:
            return await self.request("POST", collection, body)
        except RefusedError as error:
            if error.status != 409:
                raise
        return await self.get(f"{collection}/{body['metadata']['name']}")

    async def token_for(
        self, namespace: str, account: str, *, bound_to: Mapping[str, Any] | None = None
    ) -> str:
        """A token of a service account; bound to the object *bound_to*, a Pod or Node, when given."""
        spec: dict[str, Any] = {"expirationSeconds": 7200}
        if bound_to is not None:
            reference = {key: bound_to[key] for key in ("apiVersion", "kind")}
            metadata = bound_to["metadata"]
            spec["boundObjectRef"] = reference | {"name": metadata["name"], "uid": metadata["uid"]}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        made = await self.request("POST", path, {"spec": spec})
        return str(made["status"]["token"])


async def run(
    command: Sequence[str],
    stdin: str = "",
    timeout: float = DEADLINE,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return what it printed. Raises TestbedError with its errors."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
    )
    try:
        async with asyncio.timeout(timeout):
            output, errors = await process.communicate(stdin.encode())
    except TimeoutError as error:
        raise TestbedError(f"{_shown(command)}: no end within {timeout:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise TestbedError(f"{_shown(command)}: {errors.decode(errors='replace').strip()}")
    return output.decode()


def _shown(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:]])


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()
