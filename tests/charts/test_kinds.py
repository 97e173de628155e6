"""The kinds' definitions, as files: what they say agrees with the structs that read them."""

import copy
from typing import Any

import pytest
from msgspec import inspect

from daemon import names
from daemon.kube.resources import (
    CLONE_SETS,
    IMAGE_LIST_PULL_JOBS,
    IMAGE_PULL_JOBS,
    NODE_IMAGES,
    RECREATE_REQUESTS,
    WORKLOAD_RESTARTS,
)
from tests.charts.rendering import of_kind, render, the
from tests.charts.schemas import Schema, differences, parts

KRUISE = {
    each.kind: each
    for each in (IMAGE_PULL_JOBS, IMAGE_LIST_PULL_JOBS, NODE_IMAGES, CLONE_SETS, RECREATE_REQUESTS)
}
OWN = {WORKLOAD_RESTARTS.kind: WORKLOAD_RESTARTS}
RESOURCES = {**KRUISE, **OWN}

MEANT = {
    # OpenKruise refuses a tag without these; the structs read what is stored before they were asked for.
    "NodeImage.spec.images{}.tags[].createdAt: required is True in the schema alone",
    "NodeImage.spec.images{}.tags[].pullPolicy: required is True in the schema alone",
    "NodeImage.spec.images{}.tags[].pullPolicy.ttlSecondsAfterFinished: required is True in the schema alone",
    "NodeImage.spec.images{}.tags[].version: minimum is 0 in the schema, None in the struct",
    # The struct reads the empty text that OpenKruise leaves there.
    (
        "NodeImage.spec.images{}.tags[].imagePullPolicy: enum is ['IfNotPresent', 'Always'] in the schema, "
        "None in the struct"
    ),
    # One struct serves owners of tags and of objects; of a tag nobody is the controller.
    "NodeImage.spec.images{}.tags[].ownerReferences[].controller: not in the schema",
    # OpenKruise's conversion stores what the older version's annotation says, its webhook refuses it.
    *(
        f"CloneSet.spec.updateStrategy.{each}.imagePreDownloadParallelism: no integer or string in the schema"
        for each in ("inPlaceUpdateStrategy", "inplaceUpdateStrategy", "rollingUpdate.inPlaceUpdateStrategy")
    ),
}


def definition(kind: str) -> Schema:
    resource = RESOURCES[kind]
    found: Schema = the("CustomResourceDefinition", f"{resource.plural}.{resource.group}")["spec"]
    return found


def schema(kind: str) -> Schema:
    (found,) = [each for each in definition(kind)["versions"] if each["name"] == RESOURCES[kind].version]
    body: Schema = found["schema"]["openAPIV3Schema"]
    return body


each_kind = pytest.mark.parametrize("kind", RESOURCES)
each_of_openkruise = pytest.mark.parametrize("kind", KRUISE)


def test_there_are_no_other_kinds() -> None:
    kinds = {each["spec"]["names"]["kind"] for each in of_kind("CustomResourceDefinition")}

    assert kinds == set(RESOURCES)


@each_kind
def test_every_field_of_the_struct_is_in_the_schema_and_the_other_way_round(kind: str) -> None:
    type_ = inspect.type_info(RESOURCES[kind].type)

    found = set(differences(type_, schema(kind), kind))

    assert found == {line for line in MEANT if line.startswith(f"{kind}.")}


@each_of_openkruise
def test_both_versions_differ_in_name_alone(kind: str) -> None:
    first, second = copy.deepcopy(definition(kind)["versions"])
    if kind == CLONE_SETS.kind:  # OpenKruise's versions differ in one default
        reuse = [scaling(each)["properties"]["disablePVCReuse"].pop("default") for each in (first, second)]
        assert reuse == [first["name"] == "v1beta1", second["name"] == "v1beta1"]

    assert {**first, "name": "", "storage": False} == {**second, "name": "", "storage": False}


def scaling(version: Schema) -> dict[str, Any]:
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found: dict[str, Any] = spec["properties"]["scaleStrategy"]
    return found


@each_of_openkruise
def test_the_first_version_is_stored_and_both_are_served(kind: str) -> None:
    stored, other = names.KRUISE_VERSIONS
    versions = {each["name"]: (each["served"], each["storage"]) for each in definition(kind)["versions"]}

    assert versions == {stored: (True, True), other: (True, False)}
    assert definition(kind)["conversion"] == {"strategy": "None"}


@each_kind
def test_the_definition_is_where_the_client_looks(kind: str) -> None:
    resource, found = RESOURCES[kind], definition(kind)

    assert (found["group"], found["names"]["plural"]) == (resource.group, resource.plural)
    assert found["scope"] == ("Namespaced" if resource.namespaced else "Cluster")


@each_kind
def test_status_is_written_apart(kind: str) -> None:
    for version in definition(kind)["versions"]:
        assert version["subresources"]["status"] == {}
        assert set(version["subresources"]) <= {"status", *({"scale"} if kind == CLONE_SETS.kind else ())}


@each_kind
def test_every_field_is_explained(kind: str) -> None:
    named = [at for at, part in parts(schema(kind), kind) if not part.get("description")]

    # What stands in lists and maps is explained by the field that holds it.
    assert [at for at in named if not at.endswith(("[]", "{}", ".metadata"))] == []


@each_kind
def test_every_rule_tells_what_is_allowed(kind: str) -> None:
    rules = [
        rule for _, part in parts(schema(kind), kind) for rule in part.get("x-kubernetes-validations", ())
    ]

    assert rules
    assert [rule for rule in rules if "allowed: " not in rule["message"]] == []


@each_kind
def test_the_kinds_stay_when_the_release_goes(kind: str) -> None:
    name = f"{RESOURCES[kind].plural}.{RESOURCES[kind].group}"

    metadata = the("CustomResourceDefinition", name)["metadata"]

    assert metadata["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_kinds_of_openkruise_can_be_left_to_it() -> None:
    documents = render({"crds": {"install": False}})

    left = {each["spec"]["names"]["kind"] for each in of_kind("CustomResourceDefinition", documents)}
    assert left == set(OWN)


def test_ours_can_be_left_out() -> None:
    documents = render({"crds": {"own": False}})

    left = {each["spec"]["names"]["kind"] for each in of_kind("CustomResourceDefinition", documents)}
    assert left == set(KRUISE)


@pytest.mark.parametrize("kind", OWN)
def test_a_kind_of_ours_has_one_version(kind: str) -> None:
    (version,) = definition(kind)["versions"]

    assert (version["name"], version["served"], version["storage"]) == (names.OWN_VERSION, True, True)
