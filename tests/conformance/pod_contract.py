"""What updates in place expect of an API server's pods, the fake one and the real one alike."""

from collections.abc import Mapping
from typing import Any

import pytest

from daemon.kube.client import ApiClient
from daemon.kube.errors import ChangedError
from daemon.kube.patches import strategic_merge_patch
from daemon.kube.resources import WHOLE_PODS
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key

WEB = Key("default", "web")
DOCUMENT = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": WEB.name, "namespace": WEB.namespace, "annotations": {"kept": "1", "gone": "1"}},
    "spec": {
        "automountServiceAccountToken": False,
        "containers": [{"name": "app", "image": "app:1"}, {"name": "side", "image": "side:1"}],
    },
}


async def _change(client: ApiClient, document: Mapping[str, Any], subresource: str = "") -> LocalPod:
    return await client.patch(WHOLE_PODS, WEB, strategic_merge_patch(document), subresource=subresource)


def _conditions(pod: LocalPod) -> dict[str, str]:
    return {each.type: each.status for each in pod.status.conditions if each.type.startswith("example.com/")}


async def _say(client: ApiClient, **conditions: str) -> LocalPod:
    told = [{"type": f"example.com/{name}", "status": status} for name, status in conditions.items()]
    return await _change(client, {"status": {"conditions": told}}, "status")


class PodContract:
    """Every expectation. Subclasses provide ``client``, of a server with that pod in it."""

    async def test_containers_change_by_their_names(self, client: ApiClient) -> None:
        changed = await _change(client, {"spec": {"containers": [{"name": "side", "image": "side:2"}]}})

        images = {each.name: each.image for each in changed.spec.containers}
        assert images == {"app": "app:1", "side": "side:2"}

    async def test_another_spec_is_another_generation_and_labels_are_none(self, client: ApiClient) -> None:
        before = await client.get(WHOLE_PODS, WEB)

        tagged = await _change(client, {"metadata": {"labels": {"a": "b"}}})
        changed = await _change(client, {"spec": {"containers": [{"name": "app", "image": "app:2"}]}})

        assert tagged.metadata.generation == before.metadata.generation
        assert changed.metadata.generation == before.metadata.generation + 1

    async def test_conditions_are_set_and_removed_by_their_types(self, client: ApiClient) -> None:
        await _say(client, One="True", Two="True")

        changed = await _say(client, Two="False")
        gone = {"type": "example.com/One", "$patch": "delete"}
        removed = await _change(client, {"status": {"conditions": [gone]}}, "status")

        assert _conditions(changed) == {"example.com/One": "True", "example.com/Two": "False"}
        assert _conditions(removed) == {"example.com/Two": "False"}

    async def test_finalizers_join_those_that_are_there(self, client: ApiClient) -> None:
        await _change(client, {"metadata": {"finalizers": ["example.com/one"]}})

        both = await _change(client, {"metadata": {"finalizers": ["example.com/two"]}})
        none = await _change(client, {"metadata": {"finalizers": None}})

        assert set(both.metadata.finalizers) == {"example.com/one", "example.com/two"}
        assert none.metadata.finalizers == ()

    async def test_labels_and_annotations_go_with_a_status(self, client: ApiClient) -> None:
        metadata = {"labels": {"state": "Normal"}, "annotations": {"gone": None, "new": "1"}}

        changed = await _change(client, {"metadata": metadata, "status": {}}, "status")

        assert changed.metadata.labels == {"state": "Normal"}
        assert changed.metadata.annotations == {"kept": "1", "new": "1"}

    @pytest.mark.parametrize("subresource", ["", "status"])
    async def test_a_patch_is_refused_when_the_pod_has_another_version(
        self, client: ApiClient, subresource: str
    ) -> None:
        old = await client.get(WHOLE_PODS, WEB)
        newer = await _say(client, One="True")
        bound = {"uid": old.metadata.uid, "annotations": {"late": "1"}}

        late, now = (
            {"metadata": {**bound, "resourceVersion": each.metadata.resource_version}}
            for each in (old, newer)
        )
        with pytest.raises(ChangedError):
            await _change(client, late, subresource)
        told = await _change(client, now, subresource)

        assert told.metadata.annotations["late"] == "1"

    async def test_a_dry_run_is_judged_as_the_change_would_be_and_changes_nothing(
        self, client: ApiClient
    ) -> None:
        old = await client.get(WHOLE_PODS, WEB)
        newer = await _say(client, One="True")
        image = {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}

        late, now = (
            strategic_merge_patch({"metadata": {"resourceVersion": each.metadata.resource_version}, **image})
            for each in (old, newer)
        )
        with pytest.raises(ChangedError):
            await client.patch(WHOLE_PODS, WEB, late, dry_run=True)
        told = await client.patch(WHOLE_PODS, WEB, now, dry_run=True)

        assert told.spec.containers[0].image == "app:2"
        assert await client.get(WHOLE_PODS, WEB) == newer
