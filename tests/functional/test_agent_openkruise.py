"""The agent under OpenKruise's manager: NodeImages as that writes them, and a status that it understands.

The manager sorts tags, keeps one set of pull secrets an image, puts a digest in the tag's place and raises a
tag's version when another job joins; its definition of the kind knows none of our own fields.
"""

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.apistorage import Served
from tests.functional.agent_world import NODE, AgentWorld, agent_world

DIGEST = "sha256:" + "a" * 64

# Two tags of one image, each for other jobs; fields that only a webhook or a newer manager adds are missing.
TAGS = f"""
apiVersion: apps.kruise.io/v1beta1
kind: NodeImage
metadata:
  name: {NODE}
  labels: {{kubernetes.io/hostname: {NODE}, kubernetes.io/os: linux, beta.kubernetes.io/arch: amd64}}
spec:
  images:
    reg.test/app:
      sandboxConfig:
        labels: {{team: shop}}
        annotations: {{example.com/reason: prewarm}}
      tags:
        - tag: v1
          createdAt: "2026-05-01T12:00:00Z"
          version: 0
          pullPolicy: {{timeoutSeconds: 600, backoffLimit: 3, ttlSecondsAfterFinished: 1017}}
          imagePullPolicy: IfNotPresent
          ownerReferences:
            - apiVersion: apps.kruise.io/v1beta1
              kind: ImagePullJob
              name: app-v1
              namespace: shop
              uid: 0f7c0e51-6f0e-4c53-9c9a-1b1f6ad2b4c1
        - tag: v2
          createdAt: "2026-05-01T12:00:05Z"
          version: 3
          ownerReferences:
            - apiVersion: apps.kruise.io/v1beta1
              kind: ImagePullJob
              name: app-v2
              namespace: shop
              uid: 6f2d5a55-30a5-4a0c-8f0c-0a4e6f2b7f10
            - apiVersion: apps.kruise.io/v1alpha1
              kind: ImagePullJob
              name: app-v2-again
              namespace: default
              uid: 9a0a9a4e-25ab-49d2-8d29-6a1b1e0f8f7d
"""

# A digest stands where a tag would; the manager drops the tag that stood beside it.
BY_DIGEST = f"""
apiVersion: apps.kruise.io/v1beta1
kind: NodeImage
metadata: {{name: {NODE}}}
spec:
  images:
    reg.test/app:
      tags:
        - tag: {DIGEST}
          createdAt: "2026-05-01T12:00:00Z"
          version: 0
          pullPolicy: {{timeoutSeconds: 600, backoffLimit: 3, ttlSecondsAfterFinished: 1017}}
          imagePullPolicy: IfNotPresent
"""

# What a private image looks like: the copy of its secret is shared by jobs, so its mode is batch.
PRIVATE = f"""
apiVersion: apps.kruise.io/v1beta1
kind: NodeImage
metadata: {{name: {NODE}}}
spec:
  images:
    reg.test/app:
      pullSecrets:
        - {{namespace: kruise-daemon-config, name: registry-5f8c2d, mode: batch}}
      tags:
        - tag: v1
          createdAt: "2026-05-01T12:00:00Z"
          version: VERSION
          pullPolicy: {{timeoutSeconds: 600, backoffLimit: 0, ttlSecondsAfterFinished: 1017}}
          imagePullPolicy: Always
"""

COPY = """
apiVersion: v1
kind: Secret
type: kubernetes.io/dockerconfigjson
metadata:
  name: registry-5f8c2d
  namespace: kruise-daemon-config
  annotations:
    imagepulljobs.kruise.io/source-key: shop/registry
    imagepulljobs.kruise.io/references: shop/app-v1,shop/app-v2
    imagepulljobs.kruise.io/mode: batch
data:
  .dockerconfigjson: CONFIG
"""


def copy_of(password: str) -> str:
    config = json.dumps({"auths": {"reg.test": {"username": "puller", "password": password}}})
    return COPY.replace("CONFIG", base64.b64encode(config.encode()).decode())


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[AgentWorld]:
    async with agent_world(tmp_path) as made:
        yield made


async def test_several_tags_of_one_image_are_pulled_and_told_each_in_its_version(cluster: AgentWorld) -> None:
    for tag in ("v1", "v2"):
        cluster.node.node.offer(f"reg.test/app:{tag}")
    cluster.store(TAGS)

    async with cluster.running():
        first = await cluster.phase("reg.test/app", "v1", "Succeeded")
        second = await cluster.phase("reg.test/app", "v2", "Succeeded")

    assert (first["version"], second["version"]) == (0, 3)
    assert first["imageID"].startswith("reg.test/app@sha256:")
    assert first["completionTime"]
    status = cluster.node_image()["status"]
    assert (status["desired"], status["succeeded"], status["failed"], status["pulling"]) == (2, 2, 0, 0)
    assert sorted(cluster.node.pulled()) == ["reg.test/app:v1", "reg.test/app:v2"]


async def test_the_sandbox_config_of_the_image_goes_with_each_pull(cluster: AgentWorld) -> None:
    for tag in ("v1", "v2"):
        cluster.node.node.offer(f"reg.test/app:{tag}")
    cluster.store(TAGS)

    async with cluster.running():
        await cluster.phase("reg.test/app", "v1", "Succeeded")
        await cluster.phase("reg.test/app", "v2", "Succeeded")

    for request in cluster.node.runtime.requests("PullImage"):
        assert dict(request.sandbox_config.labels) == {"team": "shop"}
        assert dict(request.sandbox_config.annotations) == {
            "example.com/reason": "prewarm",
            "apps.kruise.io/pulling-image-by": "inplaced",
        }


async def test_another_version_of_a_tag_is_looked_at_anew_and_told(cluster: AgentWorld) -> None:
    for tag in ("v1", "v2"):
        cluster.node.node.offer(f"reg.test/app:{tag}")
    cluster.store(TAGS)

    async with cluster.running():
        await cluster.phase("reg.test/app", "v2", "Succeeded")
        cluster.store(TAGS.replace("version: 3", "version: 4"))
        await cluster.until(
            lambda: (
                cluster.tag("reg.test/app", "v2").get("version") == 4
                and cluster.tag("reg.test/app", "v2")["phase"] == "Succeeded"
            ),
            "version 4 told",
        )

    # It was there already: IfNotPresent holds where nothing else is said.
    assert cluster.node.pulled().count("reg.test/app:v2") == 1


async def test_a_digest_in_the_tags_place_is_pulled_by_digest(cluster: AgentWorld) -> None:
    cluster.node.node.offered[f"reg.test/app@{DIGEST}"] = cluster.node.node.offer("reg.test/app:v1")
    cluster.store(BY_DIGEST)

    async with cluster.running():
        tag = await cluster.phase("reg.test/app", DIGEST, "Succeeded")

    assert cluster.node.pulled() == [f"reg.test/app@{DIGEST}"]
    assert tag["progress"] == 100


async def test_the_copy_of_a_secret_is_used_and_read_anew_after_its_rotation(cluster: AgentWorld) -> None:
    cluster.node.node.offer("reg.test/app:v1")
    cluster.store(copy_of("first"))
    cluster.store(PRIVATE.replace("VERSION", "0"))

    async with cluster.running():
        await cluster.phase("reg.test/app", "v1", "Succeeded")
        cluster.store(copy_of("second"))
        begun = time.monotonic()
        await cluster.until(lambda: time.monotonic() - begun > 1.1, "what was read is no longer fresh")
        cluster.store(PRIVATE.replace("VERSION", "1"))
        await cluster.until(lambda: cluster.tag("reg.test/app", "v1")["version"] == 1, "version 1")
        await cluster.phase("reg.test/app", "v1", "Succeeded")

    passwords = [request.auth.password for request in cluster.node.runtime.requests("PullImage")]
    assert passwords == ["first", "second"]


async def test_only_the_copies_that_are_named_are_read_and_by_name(cluster: AgentWorld) -> None:
    cluster.node.node.offer("reg.test/app:v1")
    cluster.store(copy_of("first"))
    cluster.store(PRIVATE.replace("VERSION", "0"))

    async with cluster.running():
        await cluster.phase("reg.test/app", "v1", "Succeeded")

    asked = {(each.verb, each.name) for each in cluster.server.requests if each.resource == "secrets"}
    assert asked == {("get", "registry-5f8c2d")}


async def test_no_secret_is_ever_in_the_log_or_on_the_page(
    cluster: AgentWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.store(copy_of("hunter2-secret"))
    cluster.store(PRIVATE.replace("VERSION", "0"))

    async with cluster.running() as agent:
        await cluster.phase("reg.test/app", "v1", "Failed")
        shown = [await agent.get(path) for path in ("/", "/statusz", "/flagz", "/metrics", "/debug/tasks")]

    said = "".join(capsys.readouterr()) + "".join(shown) + str(cluster.node_image())
    assert "hunter2-secret" not in said
    assert base64.b64encode(b"hunter2-secret").decode() not in said


@pytest.mark.parametrize("secret", ["absent", "unreadable"])
async def test_a_copy_that_cannot_be_had_leaves_the_anonymous_attempt(
    cluster: AgentWorld, secret: str
) -> None:
    cluster.node.node.offer("reg.test/app:v1")
    if secret == "unreadable":
        cluster.store(COPY.replace("CONFIG", "e30="))
    cluster.store(PRIVATE.replace("VERSION", "0"))

    async with cluster.running():
        await cluster.phase("reg.test/app", "v1", "Succeeded")

    (request,) = cluster.node.runtime.requests("PullImage")
    assert not request.auth.password


async def test_a_manager_that_serves_only_the_old_version_is_spoken_to_in_it(cluster: AgentWorld) -> None:
    cluster.node.node.offer("reg.test/app:v1")
    for kind in ("nodeimages", "imagepulljobs"):
        served = cluster.server.kinds[kind]
        cluster.server.kinds[kind] = Served(
            served.group, ("v1alpha1",), served.plural, served.kind, namespaced=served.namespaced
        )
    cluster.store(TAGS.replace("v1beta1\nkind: NodeImage", "v1alpha1\nkind: NodeImage"))

    async with cluster.running():
        await cluster.phase("reg.test/app", "v1", "Succeeded")
        await cluster.phase("reg.test/app", "v2", "Failed")
        await cluster.until(lambda: cluster.server.writes["create events"] >= 4, "events")

    regarding = {each["regarding"]["apiVersion"] for each in cluster.server.storage.of("events").values()}
    assert regarding == {"apps.kruise.io/v1alpha1"}


async def test_what_the_manager_decides_of_a_silent_node_is_not_fought_over(cluster: AgentWorld) -> None:
    """It ends a request in the node's stead after ten minutes of silence: that end stands."""
    cluster.store(TAGS)
    document = dict(cluster.node_image())
    ended = {
        "tag": "v1",
        "phase": "Failed",
        "version": 0,
        "completionTime": "2026-05-01T12:10:00Z",
        "message": "node has not responded for a long time",
    }
    document["status"] = {"desired": 2, "failed": 1, "imageStatuses": {"reg.test/app": {"tags": [ended]}}}
    cluster.server.store("nodeimages", document)
    cluster.node.node.offer("reg.test/app:v2")

    async with cluster.running():
        await cluster.phase("reg.test/app", "v2", "Succeeded")

    assert cluster.node.pulled() == ["reg.test/app:v2"]
    assert cluster.tag("reg.test/app", "v1")["message"] == "node has not responded for a long time"
