"""Kubeconfigs: tokens, certificates and plugins lead to the server; what is wrong is said without secrets."""

import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemon.kube.access import AccessError
from daemon.kube.client import ApiClient
from daemon.kube.errors import NoAccessError, UnauthorizedError
from daemon.kube.kubeconfig import Kubeconfig
from daemon.kube.resources import IMAGE_PULL_JOBS
from daemon.metrics import Metrics
from tests.conformance.objects_contract import new_job
from tests.fakes.apiserver import FakeApiServer
from tests.functional.kube_world import WEB
from tests.testbed.certificates import make_certificates

PLUGIN = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "calls").open("a").write("x")
status = {"token": (folder / "token").read_text()}
if (folder / "expiry").exists():
    status["expirationTimestamp"] = (folder / "expiry").read_text()
version = "client.authentication.k8s.io/v1"
print(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))
"""


class Files:
    """A kubeconfig and what it points at."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "kubeconfig"
        self.cluster: dict[str, Any] = {}

    def write(self, server: FakeApiServer, user: dict[str, Any]) -> Kubeconfig:
        """Write the kubeconfig of one user."""
        document = {
            "current-context": "here",
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u"}},
                {"name": "nobody", "context": {"cluster": "c", "user": "n"}},
            ],
            "clusters": [{"name": "c", "cluster": {"server": server.url, **self.cluster}}],
            "users": [{"name": "u", "user": user}, {"name": "n", "user": {}}],
        }
        self.path.write_text(yaml.safe_dump(document))
        return Kubeconfig(self.path)

    def plugin(self, token: str, *, lasts: timedelta | None = None) -> dict[str, Any]:
        """A user whose token comes from a program."""
        script = self.directory / "plugin.py"
        script.write_text(PLUGIN)
        (self.directory / "token").write_text(token)
        if lasts is not None:
            (self.directory / "expiry").write_text((datetime.now(UTC) + lasts).strftime("%Y-%m-%dT%H:%M:%SZ"))
        command = {"command": sys.executable, "args": [str(script), str(self.directory)]}
        return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **command}}

    @property
    def calls(self) -> int:
        """How often the program was run."""
        return len((self.directory / "calls").read_text())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def test_a_token_lets_in(files: Files) -> None:
    server = FakeApiServer()
    server.tokens = {"good"}
    async with server, ApiClient(files.write(server, {"token": "good"}), Metrics()) as client:
        made = await client.create(IMAGE_PULL_JOBS, new_job())

    assert made.metadata.uid


async def test_another_context_is_somebody_else(files: Files) -> None:
    server = FakeApiServer()
    server.tokens = {"good"}
    async with server:
        files.write(server, {"token": "good"})
        async with ApiClient(Kubeconfig(files.path, context="nobody"), Metrics()) as client:
            with pytest.raises(UnauthorizedError):
                await client.get(IMAGE_PULL_JOBS, WEB)


async def test_a_server_is_checked_by_its_authority(files: Files) -> None:
    made = make_certificates(files.directory / "pki")
    server = FakeApiServer()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(made.chain, made.key)
    files.cluster = {"certificate-authority": str(made.ca)}
    async with server, ApiClient(files.write(server, {"token": "any"}), Metrics()) as client:
        await client.create(IMAGE_PULL_JOBS, new_job())

        assert (await client.get(IMAGE_PULL_JOBS, WEB)).spec.image == "nginx:1"


async def test_a_plugin_is_asked_once_for_many_requests(files: Files) -> None:
    server = FakeApiServer()
    server.tokens = {"good"}
    async with server, ApiClient(files.write(server, files.plugin("good")), Metrics()) as client:
        await client.create(IMAGE_PULL_JOBS, new_job())
        for _ in range(5):
            await client.get(IMAGE_PULL_JOBS, WEB)

    assert files.calls == 1


async def test_a_plugin_is_asked_again_before_its_token_ends(files: Files) -> None:
    server = FakeApiServer()
    server.tokens = {"good"}
    user = files.plugin("good", lasts=timedelta(seconds=30))
    async with server:
        access = files.write(server, user)
        async with ApiClient(access, Metrics()) as client:
            await client.create(IMAGE_PULL_JOBS, new_job())
        first = await access.credentials()

    assert files.calls >= 1
    assert first.authorization == "Bearer good"


async def test_a_plugin_that_fails_is_told_as_such(files: Files) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false"}}
    async with FakeApiServer() as server:
        access = files.write(server, user)

        with pytest.raises(AccessError, match="plugin gave no credentials"):
            await access.credentials()


@pytest.mark.parametrize(
    "text", ["", "a: b", "[", "clusters: 5", "users: [{name: u, user: {token: hunter2}]"]
)
async def test_what_is_no_kubeconfig_is_refused_without_quoting_it(files: Files, text: str) -> None:
    files.path.write_text(text)

    with pytest.raises(AccessError) as caught:
        await Kubeconfig(files.path).server()

    assert str(files.path) in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="absent cannot be used: there is no such file"):
        await Kubeconfig(tmp_path / "absent").server()


async def test_a_kubeconfig_that_may_not_be_looked_for_is_named(tmp_path: Path) -> None:
    """Not by rights, which root has all of: the operating system refuses such a name, too."""
    with pytest.raises(AccessError, match=r"x cannot be used: .* name too long"):
        await Kubeconfig(tmp_path / ("x" * 300)).server()


async def test_who_cannot_be_let_in_is_not_told_that_the_server_may_be_down(tmp_path: Path) -> None:
    async with ApiClient(Kubeconfig(tmp_path / "absent"), Metrics()) as client:
        with pytest.raises(NoAccessError, match=r"absent cannot be used.*name a kubeconfig"):
            await client.get(IMAGE_PULL_JOBS, WEB)
