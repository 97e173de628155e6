"""Revisions of a CloneSet and what is made of them: found again whoever wrote them, named, forgotten."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.kube.encoding import encoded
from daemon.objects.meta import ObjectMeta
from daemon.objects.revisions import ControllerRevision
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.history import (
    Found,
    data_of,
    find,
    hash_of,
    labels_for,
    named,
    next_revision,
    superfluous,
)
from daemon.workloads.clonesets.making import ENDING, make, returning, reusable
from daemon.workloads.clonesets.settings import Settings, settings_of
from tests.unit.clonesets import LABELS, NOW, clone_set, pod

IN_PLACE = Settings(replicas=1, policy="InPlaceIfPossible")


def with_image(image: str) -> CloneSet:
    pod = {"containers": [{"name": "a", "image": image}]}
    return clone_set(template={"metadata": {"labels": LABELS}, "spec": pod})


def history(*images: str) -> list[ControllerRevision]:
    """The revisions of a set that ran these images in turn."""
    found: list[ControllerRevision] = []
    for image in images:
        found.append(next_revision(with_image(image), found, 0))
    return found


def test_each_revision_is_newer_than_those_before() -> None:
    assert [each.revision for each in history("a:1", "a:2", "a:3")] == [1, 2, 3]


def test_a_template_is_found_again_and_a_roll_back_is_known() -> None:
    stored = history("a:1", "a:2")

    newest, older, none = (find(stored, with_image(image)) for image in ("a:2", "a:1", "a:3"))

    assert newest == Found(stored[1], newest=True)
    assert older == Found(stored[0], newest=False)
    assert none is None


def test_what_go_writes_of_the_same_template_is_the_same() -> None:
    obj = with_image("a:1")
    (mine,) = history("a:1")
    template = msgspec.json.decode(msgspec.json.encode(mine.data))["spec"]["template"]
    template["metadata"]["creationTimestamp"] = None
    template["spec"]["containers"][0] |= {"resources": {}, "command": []}
    written = msgspec.structs.replace(mine, data={"spec": {"template": template}})

    assert find([written], obj) is not None


def test_a_revision_is_byte_by_byte_what_openkruises_manager_makes() -> None:
    # Its manager finds a revision by these bytes, and their FNV-1 hash with the collision count is its name.
    obj = with_image("a:1 && b")

    made = next_revision(obj, (), 0)

    assert encoded(made.data) == (
        rb'{"spec":{"template":{"$patch":"replace","metadata":{"creationTimestamp":null,"labels":{"app":"web"}},'
        rb'"spec":{"containers":[{"image":"a:1 \u0026\u0026 b","name":"a","resources":{}}]}}}}'
    )
    assert made.metadata.name == "web-5c4bf9f7d"


@pytest.mark.parametrize(("annotated", "known"), [(True, True), (False, False)])
def test_a_pull_policy_of_openkruises_webhook_makes_no_other_revision(annotated: bool, known: bool) -> None:
    """Its webhook filled in Always where the manifest says nothing, Kubernetes mostly IfNotPresent."""
    (mine,) = history("a:1")
    template = msgspec.json.decode(msgspec.json.encode(mine.data))["spec"]["template"]
    template["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    marks = {"kruise.io/cloneset-volumeclaimtemplate-hash": ""} if annotated else {}
    metadata = msgspec.structs.replace(mine.metadata, annotations=marks)
    stored = msgspec.structs.replace(mine, metadata=metadata, data={"spec": {"template": template}})

    assert (find([stored], with_image("a:1")) is not None) is known


def test_another_name_is_taken_after_a_collision() -> None:
    data = data_of(with_image("a:1"))

    assert len({hash_of(data, collisions) for collisions in range(5)}) == 5


def test_a_pod_s_label_means_its_revision_in_full_or_in_short() -> None:
    stored = history("a:1", "a:2")
    short = stored[1].metadata.name.rpartition("-")[2]

    assert named(stored, stored[1].metadata.name) is named(stored, short) is stored[1]
    assert named(stored, "") is None


def test_a_long_name_is_labelled_by_its_hash() -> None:
    name = f"{'x' * 60}-abcde"

    assert labels_for(name) == {names.TEMPLATE_HASH_LABEL: "abcde", names.SHORT_HASH_LABEL: "abcde"}


def test_the_oldest_that_nothing_uses_are_forgotten() -> None:
    stored = history(*(f"a:{number}" for number in range(5)))
    used = [stored[0].metadata.name, stored[4].metadata.name]

    assert superfluous(stored, used, 1) == stored[1:3]
    assert superfluous(stored, used, 10) == []


members = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(), max_size=3)


@given(members)
def test_the_order_of_members_makes_no_other_name(annotations: dict[str, Any]) -> None:
    names_ = {
        next_revision(clone_set(template={"metadata": {"annotations": each}}), (), 0).metadata.name
        for each in (annotations, dict(reversed(annotations.items())))
    }

    assert len(names_) == 1


def test_a_pod_mounts_its_claims_instead_of_volumes_of_that_name() -> None:
    claim = {"metadata": {"name": "data", "labels": {"tier": "fast"}}, "spec": {"storageClassName": "x"}}
    obj = clone_set(volume_claim_templates=(claim,))
    template = {"spec": {"containers": [], "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp"}]}}

    new = make(obj, settings_of(obj), "web-1", template, "abcde")

    claimed = {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-abcde"}}
    assert new.pod["spec"]["volumes"] == [claimed, {"name": "tmp"}]
    assert new.claims[0]["metadata"]["labels"] == {
        "tier": "fast",
        **LABELS,
        names.INSTANCE_ID_LABEL: "abcde",
    }
    assert make(obj, settings_of(obj), "web-1", template, "abcde", stored={"data-web-abcde"}).claims == []


def test_gates_are_added_once_and_that_of_updates_only_where_pods_change_in_place() -> None:
    obj = clone_set()
    template = {"spec": {"readinessGates": [{"conditionType": "KruisePodReady"}, {"conditionType": "mine"}]}}

    def gates(settings: Settings) -> list[str]:
        spec = make(obj, settings, "web-1", template, "abcde").pod["spec"]
        return [each["conditionType"] for each in spec["readinessGates"]]

    assert gates(IN_PLACE) == ["KruisePodReady", "mine", "InPlaceUpdateReady"]
    assert gates(settings_of(obj)) == ["KruisePodReady", "mine"]


def test_the_template_itself_stays_as_it_is() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    before = msgspec.json.encode(template)

    make(clone_set(), IN_PLACE, "web-1", template, "abcde")

    assert msgspec.json.encode(template) == before


def test_only_claims_of_pods_that_are_gone_are_used_again() -> None:
    claims = [next_claim(id_) for id_ in ("here", "gone", "")]

    assert reusable(claims, {"here"}) == ["gone"]


def test_a_pod_that_ends_is_waited_for_as_long_as_it_may_take() -> None:
    ending = pod("web-gone", labels={names.INSTANCE_ID_LABEL: "gone"}, deleting=True)
    claims = [next_claim("gone"), next_claim("here")]

    assert returning(claims, [ending, pod("web-here")], NOW) == {"gone"}
    assert returning(claims, [ending], NOW + ENDING) == frozenset()
    assert returning([], [ending], NOW) == frozenset()


def next_claim(id_: str) -> Any:
    from daemon.objects.revisions import PersistentVolumeClaim

    labels = {names.INSTANCE_ID_LABEL: id_} if id_ else {}
    return PersistentVolumeClaim(metadata=ObjectMeta(name=f"data-{id_}", labels=labels))
