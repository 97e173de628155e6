"""What ``helm test`` runs, where OpenKruise's manager keeps the job of an earlier run for a moment."""

import asyncio
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from daemon import names
from tests.fakes.apiserver import FakeApiServer
from tests.testbed.certificates import make_certificates

SCRIPT = Path(__file__).parents[2] / "charts/inplaced/files/trial.py"
JOB: dict[str, Any] = {
    "apiVersion": names.KRUISE_API,
    "kind": "ImagePullJob",
    "metadata": {"name": "trial", "namespace": "default"},
    "spec": {"image": "inplaced:1"},
}
SUCCEEDED = {"desired": 1, "succeeded": 1, "completionTime": "2026-01-01T00:00:00Z", "message": "completed"}


async def start(server: FakeApiServer, directory: Path) -> asyncio.subprocess.Process:
    """Run the script as its pod would."""
    made = make_certificates(directory)
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(made.chain, made.key)
    await server.start()
    (directory / "token").write_text("t")
    (directory / "ca.crt").write_bytes(made.ca.read_bytes())
    given = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "TRIAL_ACCOUNT": str(directory),
        "TRIAL_NAMESPACE": "default",
        "TRIAL_JOB": "trial",
        "TRIAL_IMAGE": "inplaced:1",
        "TRIAL_TIMEOUT": "30",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), env=os.environ | given, stdout=asyncio.subprocess.PIPE
    )


async def test_the_trial_waits_until_a_job_of_an_earlier_one_is_let_go(tmp_path: Path) -> None:
    server = FakeApiServer()
    left = server.store(
        "imagepulljobs", {**JOB, "metadata": {**JOB["metadata"], "finalizers": [names.PROTECTION_FINALIZER]}}
    )
    trial = await start(server, tmp_path)
    try:
        await server.until(lambda: server.count("create") > 0)
        server.storage.update(server.kinds["imagepulljobs"], ("default", "trial"), JOB, status=False)
        await server.until(lambda: server.writes["create imagepulljobs"] > 0)
        assert (
            server.document("imagepulljobs", "trial", "default")["metadata"]["uid"] != left["metadata"]["uid"]
        )
        server.store("imagepulljobs", {**JOB, "status": SUCCEEDED})
        await asyncio.wait_for(trial.wait(), 10.0)
    finally:
        await server.stop()
        if trial.returncode is None:
            trial.kill()
            await trial.wait()

    assert trial.returncode == 0
