"""What ``helm test`` runs, with a test in the place of the controller."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from daemon import names
from tests.charts.fixtures import install, served
from tests.charts.objects import condition
from tests.charts.rendering import CHART, the
from tests.testbed.accounts import make_account
from tests.testbed.api import Api, RefusedError
from tests.testbed.cluster_fixtures import MakeControlPlane
from tests.testbed.processes import until

NAMESPACE = "trial"
JOB = f"/apis/{names.KRUISE_API}/namespaces/{NAMESPACE}/imagepulljobs/trial-inplaced-trial"
SUCCEEDED = {
    "desired": 2,
    "succeeded": 2,
    "completionTime": "2026-01-01T00:00:00Z",
    "conditions": [condition("Ready", "True")],
}
BY_OPENKRUISE = {
    "desired": 2,
    "succeeded": 2,
    "completionTime": "2026-01-01T00:00:00Z",
    "message": "job has completed",
}
"""Its manager gives no conditions."""
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


async def answer(api: Api, status: Mapping[str, Any], job: str = JOB) -> None:
    """Give the job that status as soon as it is there."""

    async def given() -> bool:
        try:
            await api.request("PATCH", f"{job}/status", {"status": status})
        except RefusedError:
            return False
        return True

    await until(given, timeout=30.0, what="the job of the trial", pause=0.05)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (SUCCEEDED, 0),
        (BY_OPENKRUISE, 0),
        (FAILED, 1),
        ({**BY_OPENKRUISE, "succeeded": 1, "failed": 1}, 1),
        (NOBODY, 1),
    ],
    ids=["every node has it", "so OpenKruise says", "a node failed", "so it says too", "there is no node"],
)
async def test_the_trial_ends_as_its_job_does(
    kinds: Api, tmp_path: Path, status: Mapping[str, Any], code: int
) -> None:
    trial = await start(kinds, tmp_path)

    await answer(kinds, status)
    output, _ = await asyncio.wait_for(trial.communicate(), 30.0)

    assert trial.returncode == code
    assert re.search(rb"[12] of 2", output)
    with pytest.raises(RefusedError, match="not found"):
        await kinds.get(JOB)


async def test_the_trial_waits_for_its_time_and_says_what_is_missing(kinds: Api, tmp_path: Path) -> None:
    await make_account(kinds, NAMESPACE, "default")
    trial = await start(kinds, tmp_path, timeout=1)

    output, _ = await asyncio.wait_for(trial.communicate(), 30.0)

    assert trial.returncode == 1
    assert b"is the controller running?" in output


async def test_the_trial_asks_for_nothing_that_openkruise_would_refuse(kinds: Api, tmp_path: Path) -> None:
    trial = await start(kinds, tmp_path)
    asked: dict[str, Any] = {}

    async def made() -> bool:
        try:
            asked.update((await kinds.get(JOB))["spec"])
        except RefusedError:
            return False
        return True

    await until(made, timeout=30.0, what="the job of the trial", pause=0.05)
    await answer(kinds, SUCCEEDED)
    await asyncio.wait_for(trial.communicate(), 30.0)

    assert isinstance(asked["parallelism"], int)
    assert asked["pullPolicy"]["timeoutSeconds"] <= asked["completionPolicy"]["activeDeadlineSeconds"]


async def test_the_trial_asks_for_the_version_that_is_served(
    make_control_plane: MakeControlPlane, tmp_path: Path
) -> None:
    """As OpenKruise was before it had a second one."""
    api = (await make_control_plane()).api
    crd = the("CustomResourceDefinition", f"imagepulljobs.{names.KRUISE_GROUP}")
    (older,) = [each for each in crd["spec"]["versions"] if each["name"] == "v1alpha1"]
    alone = {**crd, "spec": {**crd["spec"], "versions": [{**older, "storage": True}]}}
    await api.apply(alone)
    await served(api, alone, "v1alpha1")
    trial = await start(api, tmp_path)

    await answer(api, BY_OPENKRUISE, JOB.replace("v1beta1", "v1alpha1"))
    output, _ = await asyncio.wait_for(trial.communicate(), 30.0)

    assert (trial.returncode, b"2 of 2 nodes have the image" in output) == (0, True)
