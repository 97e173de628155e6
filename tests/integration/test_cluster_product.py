"""The project as its users have it: pods of its own chart and image, beside a real kubelet and containerd."""

import asyncio
import base64
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon import names
from tests.integration.breaking import is_gone
from tests.integration.releases import JOBS, ended, job, restarts
from tests.testbed.access import Basic
from tests.testbed.api import Api, run
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.processes import until
from tests.testbed.product import Installation
from tests.testbed.pushing import ImageMaker

MOST_WRITES_OF_A_JOB = 5
SECRETS = "/api/v1/namespaces/default/secrets"
NODE_SECRETS = "/api/v1/namespaces/inplaced-node-secrets/secrets"
PASSWORD = "correct horse"
NODE_IMAGES = "/apis/apps.kruise.io/v1beta1/nodeimages"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


async def versions(api: Api, path: str, since: str) -> list[dict[str, Any]]:
    """Each version that the objects under *path* had after the list's version *since*."""
    ends = "timeoutSeconds=1"  # what there is comes at once
    watch = f"{path}?watch=1&resourceVersion={since}&{ends}"
    async with api.session() as session, session.get(watch) as answer:
        lines = (await answer.text()).splitlines()
    return [json.loads(line)["object"] for line in lines]


def is_progress(written: Mapping[str, Any]) -> bool:
    """Whether a job or a node says no more than that a pull goes on."""
    status = written.get("status", {})
    tags = [tag for image in status.get("imageStatuses", {}).values() for tag in image.get("tags", ())]
    return bool(status.get("active")) or any(tag.get("phase") == "Pulling" for tag in tags)


async def inplaced(api: Api, *words: str) -> str:
    """What the plugin prints to somebody who is not at a terminal."""
    program = Path(sys.executable).with_name("kubectl-inplaced")
    return await run([str(program), *words], environ=os.environ | {"KUBECONFIG": str(api.kubeconfig)})


@pytest.fixture
def images(installed: Installation, prefix: str) -> ImageMaker:
    """Makes images in the registry of the cluster."""
    return ImageMaker(installed.cluster.registry, prefix)


async def test_its_pods_are_ready_at_the_first_start(installed: Installation) -> None:
    counts = await restarts(installed)

    assert sorted(name.rsplit("-", 1)[0].split("-")[1] for name in counts) == [
        "agent",
        "controller",
        "controller",
    ]
    assert set(counts.values()) == {0}


async def test_a_job_brings_its_image_to_the_node(
    installed: Installation, images: ImageMaker, prefix: str
) -> None:
    image = await images.make_random("app", 3_000_000, 500_000)

    await installed.cluster.api.apply(job(prefix, image))
    status = await ended(installed.cluster.api, prefix)

    assert {key: status[key] for key in ("desired", "succeeded", "failed", "active")} == {
        "desired": 1,
        "succeeded": 1,
        "failed": 0,
        "active": 0,
    }
    assert image.ref in await installed.cluster.containerd.ctr("images", "ls", "-q")


async def test_a_digest_is_a_reference_too(installed: Installation, images: ImageMaker, prefix: str) -> None:
    image = await images.make_random("app", 200_000)
    wanted = job(prefix, image)
    wanted["spec"]["image"] = image.by_digest

    await installed.cluster.api.apply(wanted)
    status = await ended(installed.cluster.api, prefix)

    assert status["succeeded"] == 1
    assert image.by_digest in await installed.cluster.containerd.ctr("images", "ls", "-q")


async def test_a_job_costs_few_writes(installed: Installation, images: ImageMaker, prefix: str) -> None:
    api = installed.cluster.api
    image = await images.make_random("app", 200_000)
    kinds = (JOBS, NODE_IMAGES, EVENTS, NODE_SECRETS)
    before = [(kind, (await api.get(kind))["metadata"]["resourceVersion"]) for kind in kinds]

    await api.request("POST", JOBS, job(prefix, image))
    await ended(api, prefix)
    await _event_of(api, prefix)

    written = [each for kind, since in before for each in await versions(api, kind, since)]
    ours = [
        each for each in written if each.get("reportingController", names.PREFIX).startswith(names.PREFIX)
    ]
    beside = [each for each in ours if not is_progress(each)]
    assert 1 < len(beside) <= 1 + MOST_WRITES_OF_A_JOB, "the job itself is the tester's"


async def test_twenty_jobs_at_once_all_end_well(
    installed: Installation, images: ImageMaker, prefix: str
) -> None:
    made = [await images.make_random(f"app{number}", 100_000 + number) for number in range(20)]

    await installed.cluster.api.apply(
        *(job(f"{prefix}-{number}", image) for number, image in enumerate(made))
    )
    ends = [await ended(installed.cluster.api, f"{prefix}-{number}") for number in range(20)]

    assert [end["succeeded"] for end in ends] == [1] * 20
    assert set((await restarts(installed)).values()) == {0}


async def test_an_image_that_does_not_exist_is_told_with_its_remedy(
    installed: Installation, images: ImageMaker, prefix: str
) -> None:
    api = installed.cluster.api
    wanted = job(prefix, await images.make_random("app", 100_000), pullPolicy={"backoffLimit": 0})
    wanted["spec"]["image"] = missing = images.missing("nothing")

    await api.apply(wanted)
    await api.kubectl("wait", "--for=jsonpath={.status.failed}=1", f"imagepulljob/{prefix}", "--timeout=60s")
    told = await inplaced(api, "why", f"node/{installed.cluster.node}")

    assert f"{missing}: failed. ImageNotFound" in told
    assert "Correct the image name, tag or digest, or push it." in told


async def test_a_pull_secret_reaches_the_node_sealed_and_goes_with_its_job(
    installed: Installation, prefix: str
) -> None:
    api = installed.cluster.api
    registry = FaultyRegistry(installed.cluster.addresses.node, access=Basic({"ada": PASSWORD}))
    await registry.start()
    try:
        image = await ImageMaker(registry, prefix).make_random("app", 100_000)
        config = json.dumps({"auths": {registry.host: {"username": "ada", "password": PASSWORD}}})
        secret = {"metadata": {"name": prefix}, "type": "kubernetes.io/dockerconfigjson"}
        await api.request("POST", SECRETS, secret | {"stringData": {".dockerconfigjson": config}})

        await api.apply(job(prefix, image, pullSecrets=[prefix], completionPolicy={"type": "Never"}))
        await api.kubectl("wait", "--for=jsonpath={.status.succeeded}=1", f"pj/{prefix}", "--timeout=60s")
        sealed = await api.get(f"{NODE_SECRETS}/{installed.cluster.node}")
        await api.kubectl("delete", f"imagepulljob/{prefix}")
        await until(
            lambda: is_gone(api, f"{NODE_SECRETS}/{installed.cluster.node}"),
            timeout=20.0,
            what="no sealed Secret",
        )
    finally:
        await registry.stop()

    kept = b"".join(base64.b64decode(value) for value in sealed["data"].values())
    assert kept
    assert PASSWORD.encode() not in kept
    assert base64.b64encode(f"ada:{PASSWORD}".encode()) not in kept


async def test_the_plugin_pulls_and_follows(installed: Installation, images: ImageMaker) -> None:
    image = await images.make_random("app", 100_000)

    told = await inplaced(installed.cluster.api, "pull", image.ref)

    assert re.search(rf"^ok +{re.escape(image.ref)} +on 1 node in ", told, re.MULTILINE)


async def test_the_chart_s_own_test_passes(installed: Installation) -> None:
    told = await installed.helm("test", "inplaced", "--namespace", installed.namespace)

    assert "Phase:          Failed" not in told
    assert "Phase:          Succeeded" in told


async def test_a_killed_agent_goes_on_where_it_was(
    installed: Installation, images: ImageMaker, prefix: str
) -> None:
    api = installed.cluster.api
    image = await images.make_random("app", 30_000_000)
    selected = (*("--namespace", installed.namespace), *("-l", "app.kubernetes.io/component=agent"))

    await api.apply(job(prefix, image))
    await api.kubectl("delete", "pod", *selected, "--grace-period=0", "--force")
    status = await ended(api, prefix)
    await installed.ready()

    assert (status["succeeded"], status["failed"]) == (1, 0)


async def _event_of(api: Api, name: str) -> None:
    path = f"{EVENTS}?fieldSelector=regarding.name={name}"
    async with asyncio.timeout(10.0):
        while not (await api.get(path))["items"]:  # noqa: ASYNC110 - another program's work has no event
            await asyncio.sleep(0.1)
