"""What ``helm test`` runs, with a test in the place of the controller."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from daemon import names
from tests.charts.fixtures import install
from tests.charts.objects import condition
from tests.charts.rendering import CHART, the
from tests.testbed.accounts import make_account
from tests.testbed.api import Api, RefusedError
from tests.testbed.processes import until

NAMESPACE = "trial"
JOB = f"/apis/{names.KRUISE_API}/namespaces/{NAMESPACE}/imagepulljobs/trial-inplaced-trial"
SUCCEEDED = {
    "desired": 2,
    "succeeded": 2,
    "completionTime": "2026-01-01T00:00:00Z",
    "conditions": [condition("Ready", "True")],
}
FAILED = {**SUCCEEDED, "succeeded": 1, "failed": 1, "conditions": [condition("Ready", "False")]}
NOBODY = {**SUCCEEDED, "desired": 0, "succeeded": 0}


async def start(api: Api, directory: Path, timeout: int = 30) -> asyncio.subprocess.Process:
    """Run the script with the token that its pod would have."""
    await install(api, NAMESPACE)
    hooks = [the(kind, "inplaced-trial") for kind in ("ServiceAccount", "Role", "RoleBinding")]
    for hook in hooks:
        await api.apply(_moved(hook))
    token = await api.token_for(NAMESPACE, "inplaced-trial")
    (directory / "token").write_text(token)
    (directory / "ca.crt").write_bytes(api.ca.read_bytes())
    url = URL(api.url)
    given = {
        "KUBERNETES_SERVICE_HOST": str(url.host),
        "KUBERNETES_SERVICE_PORT": str(url.port),
        "TRIAL_ACCOUNT": str(directory),
        "TRIAL_NAMESPACE": NAMESPACE,
        "TRIAL_JOB": "trial-inplaced-trial",
        "TRIAL_IMAGE": "inplaced:1",
        "TRIAL_TIMEOUT": str(timeout),
    }
    script = CHART / "files" / "trial.py"
    return await asyncio.create_subprocess_exec(
        sys.executable, str(script), env=os.environ | given, stdout=asyncio.subprocess.PIPE
    )


def _moved(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the namespace of this test."""
    moved = {**document, "metadata": {**document["metadata"], "namespace": NAMESPACE}}
    if "subjects" in moved:
        moved["subjects"] = [{**each, "namespace": NAMESPACE} for each in moved["subjects"]]
    return moved


async def answer(api: Api, status: Mapping[str, Any]) -> None:
    """Give the job that status as soon as it is there."""

    async def given() -> bool:
        try:
            await api.request("PATCH", f"{JOB}/status", {"status": status})
        except RefusedError:
            return False
        return True

    await until(given, timeout=30.0, what="the job of the trial", pause=0.05)


@pytest.mark.parametrize(
    ("status", "code"),
    [(SUCCEEDED, 0), (FAILED, 1), (NOBODY, 1)],
    ids=["every node has it", "a node failed", "there is no node"],
)
async def test_the_trial_ends_as_its_job_does(
    kinds: Api, tmp_path: Path, status: Mapping[str, Any], code: int
) -> None:
    trial = await start(kinds, tmp_path)

    await answer(kinds, status)
    output, _ = await asyncio.wait_for(trial.communicate(), 30.0)

    assert trial.returncode == code
    assert b"1 of 2" in output
    with pytest.raises(RefusedError, match="not found"):
        await kinds.get(JOB)


async def test_the_trial_waits_for_its_time_and_says_what_is_missing(kinds: Api, tmp_path: Path) -> None:
    await make_account(kinds, NAMESPACE, "default")
    trial = await start(kinds, tmp_path, timeout=1)

    output, _ = await asyncio.wait_for(trial.communicate(), 30.0)

    assert trial.returncode == 1
    assert b"is the controller running?" in output
