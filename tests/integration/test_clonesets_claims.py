"""Claims of a CloneSet's pods on a real cluster, with volumes behind them: who mounts them, when they go."""

import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting
from tests.testbed.session import Session
from tests.testbed.sets import PODS, RealSet, condition, identity

pytestmark = pytest.mark.asyncio(loop_scope="session")

VOLUMES = "/api/v1/persistentvolumes"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
SIGN = "hostname >> /data/names; trap 'exit 0' TERM; while :; do sleep 0.05; done"
"""Each start of a container leaves its pod's name behind."""


@pytest_asyncio.fixture(loop_scope="session")
async def web(bed: Restarting, prefix: str) -> AsyncIterator[RealSet]:
    """A set of a name of its own, removed in the end."""
    made = RealSet(bed.api, f"web-{zlib.crc32(prefix.encode()):x}")
    yield made
    await made.discard()


@pytest_asyncio.fixture(loop_scope="session")
async def disks(bed: Restarting, web: RealSet, testbed: Session) -> AsyncIterator[list[Path]]:
    """Two directories of the node, each a volume of the storage class that has the set's name."""
    made = [testbed.new_directory("v") for _ in range(2)]
    volumes = [f"{web.name}-{number}" for number in range(len(made))]
    for name, directory in zip(volumes, made, strict=True):
        spec = {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": web.name,
            "hostPath": {"path": str(directory)},
        }
        await bed.api.request("POST", VOLUMES, {"metadata": {"name": name}, "spec": spec})
    yield made
    for name in volumes:
        await bed.api.request("DELETE", f"{VOLUMES}/{name}")


def _document(web: RealSet, image: str, *, reuse: bool) -> dict[str, Any]:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": web.name,
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    app = {
        "name": "app",
        "image": image,
        "command": ["sh", "-c", SIGN],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    return web.document(
        [app],
        replicas=1,
        volumeClaimTemplates=[claim],
        scaleStrategy={"disablePVCReuse": not reuse},
        updateStrategy={"type": "InPlaceIfPossible"},
    )


def _names(disks: list[Path]) -> list[list[str]]:
    """What pods have left on each disk that was ever mounted."""
    files = [each / "names" for each in disks]
    return [each.read_text().split() for each in files if each.exists()]


async def _claims(web: RealSet) -> dict[str, str]:
    """The UIDs of the set's claims, by name."""
    found = (await web.api.get(f"{CLAIMS}?labelSelector=app={web.name}"))["items"]
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in found}


async def _replaced(web: RealSet) -> tuple[dict[str, Any], dict[str, Any]]:
    """Delete the set's pod as somebody else would; return it and its successor, which is ready."""
    (old,) = await web.pods()
    await web.api.request("DELETE", f"{PODS}/{old['metadata']['name']}")

    async def another() -> bool:
        others = [pod for pod in await web.pods() if pod["metadata"]["uid"] != old["metadata"]["uid"]]
        return any(condition(pod, names.READY).get("status") == "True" for pod in others)

    await until(another, timeout=60, what=f"another pod of {web.name} that is ready", pause=0.05)
    await web.settled()
    (new,) = await web.pods()
    return old, new


async def test_the_successor_of_a_pod_finds_its_data(
    web: RealSet, set_images: tuple[str, str], disks: list[Path]
) -> None:
    await web.apply(_document(web, set_images[0], reuse=True))
    await web.settled()
    claims = await _claims(web)

    old, new = await _replaced(web)
    name = new["metadata"]["name"]

    assert await _claims(web) == claims
    assert list(claims) == [f"data-{name}"]
    assert old["metadata"]["name"] == name
    assert _names(disks) == [[name, name]]


async def test_a_pod_that_changes_in_place_keeps_its_volume(
    web: RealSet, set_images: tuple[str, str], disks: list[Path]
) -> None:
    await web.apply(_document(web, set_images[0], reuse=False))
    await web.settled()
    claims, (before,) = await _claims(web), await web.pods()

    await web.set_image(set_images[1])
    await web.settled()
    (after,) = await web.pods()

    assert identity(after) == identity(before)
    assert await _claims(web) == claims
    assert _names(disks) == [[after["metadata"]["name"]] * 2]


async def test_claims_go_with_their_pods_where_they_are_not_to_be_used_again(
    web: RealSet, set_images: tuple[str, str], disks: list[Path]
) -> None:
    await web.apply(_document(web, set_images[0], reuse=False))
    await web.settled()

    old, new = await _replaced(web)
    await _until_claims(web, f"data-{new['metadata']['name']}")
    await web.patch(replicas=0)
    await web.settled()
    await _until_claims(web)

    assert old["metadata"]["name"] != new["metadata"]["name"]
    assert sorted(_names(disks)) == sorted([[pod["metadata"]["name"]] for pod in (old, new)])


async def _until_claims(web: RealSet, *wanted: str) -> None:
    async def so() -> bool:
        return set(await _claims(web)) == set(wanted)

    await until(so, timeout=60, what=f"the claims of {web.name} to be {wanted}", pause=0.05)
