"""What the kinds refuse, tried on the API server; jobs are judged alike by what reads manifests of files."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon import names
from daemon.objects.decoding import DecodingError, decode
from daemon.objects.images import ImagePullJob
from daemon.objects.references import InvalidReferenceError, parse
from daemon.objects.validation import problems_of
from tests.charts.image_names import IMAGES, RIGHT_IMAGES
from tests.charts.manifests import JOB, LIST, RIGHT, SCHEMA_ALONE, TEMPLATE, Written, Wrong
from tests.charts.node_manifests import NODE, TAG, node_spec
from tests.testbed.api import Api, RefusedError

Case = TypeVar("Case")

PLURALS = {
    "ImagePullJob": "imagepulljobs",
    "ImageListPullJob": "imagelistpulljobs",
    "NodeImage": "nodeimages",
}
IMAGE_OF: Mapping[str, Mapping[str, Any]] = {
    "ImagePullJob": {"image": "nginx:1"},
    "ImageListPullJob": {"images": ["nginx:1", "redis"]},
}


def both(cases: Mapping[str, Any], judged: Callable[[str, Any], Case]) -> dict[str, Case]:
    """The same for jobs of one image and of several."""
    return {f"{kind}: {name}": judged(kind, case) for kind in IMAGE_OF for name, case in cases.items()}


def alone(kind: str, cases: Mapping[str, Wrong]) -> dict[str, tuple[Written, Wrong]]:
    """Specs that are given in full."""
    return {f"{kind}: {name}": (Written(kind, wrong.spec), wrong) for name, wrong in cases.items()}


WRONG = {
    **both(TEMPLATE, lambda kind, wrong: (Written(kind, {**IMAGE_OF[kind], **wrong.spec}), wrong)),
    **alone("ImagePullJob", JOB),
    **alone("ImageListPullJob", LIST),
    **alone(
        "ImagePullJob",
        {
            f"as image {name}": Wrong({"image": image}, "spec.image", words)
            for name, (image, words) in IMAGES.items()
        },
    ),
}
WRONG_FOR_THE_SCHEMA = {**alone("ImagePullJob", SCHEMA_ALONE), **alone("NodeImage", NODE)}
ACCEPTED = {
    **both(RIGHT, lambda kind, spec: Written(kind, {**IMAGE_OF[kind], **spec})),
    **{f"ImagePullJob: {image[:40]}": Written("ImagePullJob", {"image": image}) for image in RIGHT_IMAGES},
    "ImageListPullJob: 255 images": Written("ImageListPullJob", {"images": [f"a{i}" for i in range(255)]}),
    # As in OpenKruise, where the bounds of a list job are not compared.
    "ImageListPullJob: an attempt longer than the job": Written(
        "ImageListPullJob",
        {
            "images": ["a"],
            "completionPolicy": {"activeDeadlineSeconds": 1},
            "pullPolicy": {"timeoutSeconds": 2},
        },
    ),
}


async def create(api: Api, written: Written, version: str = names.KRUISE_VERSIONS[0]) -> Any:
    """Have the API server judge the manifest, and keep nothing."""
    namespace = "" if written.kind == "NodeImage" else "/namespaces/default"
    path = f"/apis/{names.KRUISE_GROUP}/{version}{namespace}/{PLURALS[written.kind]}"
    document = written.document("judged", f"{names.KRUISE_GROUP}/{version}")
    return await api.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", document)


def table(cases: Mapping[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


@table(WRONG | WRONG_FOR_THE_SCHEMA)
async def test_the_api_server_refuses(kinds: Api, case: tuple[Written, Wrong]) -> None:
    written, wrong = case

    with pytest.raises(RefusedError) as caught:
        await create(kinds, written)

    assert caught.value.status == 422
    said = caught.value.message
    assert re.search(rf"{re.escape(wrong.field)}: [^*]*{re.escape(wrong.words)}", said), said


@table(WRONG)
def test_a_manifest_of_a_file_is_refused_for_the_same(case: tuple[Written, Wrong]) -> None:
    written, wrong = case

    assert wrong.at in _wrong_fields(written.document("judged"))


def _wrong_fields(document: dict[str, Any]) -> set[str]:
    try:
        return {problem.field for problem in problems_of(decode(document))}
    except DecodingError as error:
        return {problem.field for problem in error.problems}


@table(ACCEPTED)
async def test_the_api_server_accepts(kinds: Api, case: Written) -> None:
    stored = await create(kinds, case)

    assert stored["metadata"]["uid"]


@table(ACCEPTED)
def test_a_manifest_of_a_file_is_accepted(case: Written) -> None:
    assert problems_of(decode(case.document("judged"))) == ()


@table({name: Written("ImagePullJob", wrong.spec) for name, wrong in SCHEMA_ALONE.items()})
def test_what_only_the_schema_refuses_is_no_fault_of_a_file(case: Written) -> None:
    assert problems_of(decode(case.document("judged"))) == ()


async def test_a_priority_is_judged_by_who_reads_it(kinds: Api) -> None:
    written = Written("ImagePullJob", {"image": "a"}, {"annotations": {names.PRIORITY_ANNOTATION: "high"}})

    stored = await create(kinds, written)

    assert stored["metadata"]["uid"]
    job = decode(written.document("judged"))
    assert isinstance(job, ImagePullJob)
    assert [problem.field for problem in problems_of(job)] == [
        f"metadata.annotations[{names.PRIORITY_ANNOTATION}]"
    ]


async def test_an_unknown_field_is_refused_by_name(kinds: Api) -> None:
    with pytest.raises(RefusedError, match=r'unknown field "spec\.paralelism"'):
        await create(kinds, Written("ImagePullJob", {"image": "a", "paralelism": 5}))


async def test_everything_that_is_wrong_is_told_at_once(kinds: Api) -> None:
    spec = {"image": "A", "parallelism": -1, "selector": {"names": ["a", "a"]}, "podSelector": {}}

    with pytest.raises(RefusedError) as caught:
        await create(kinds, Written("ImagePullJob", spec))

    for field in ("spec.image", "spec.parallelism", "spec.selector.names[1]", "spec.podSelector"):
        assert f"{field}: " in caught.value.message


@pytest.mark.parametrize("version", names.KRUISE_VERSIONS)
async def test_both_versions_judge_alike(kinds: Api, version: str) -> None:
    with pytest.raises(RefusedError, match="is not an image reference"):
        await create(kinds, Written("ImagePullJob", {"image": "A"}), version)


async def test_a_node_s_images_are_accepted(kinds: Api) -> None:
    stored = await create(kinds, Written("NodeImage", node_spec(TAG, {**TAG, "tag": "2", "priority": -5})))

    assert stored["metadata"]["uid"]


HOSTS = st.sampled_from(
    [
        "",
        "",
        "localhost/",
        "a.b/",
        "A/",
        "a:1/",
        "a.b:0/",
        "[::1]:5/",
        "[::g]/",
        "a_b.c/",
        "-/",
        "1.2.3.4:70000/",
    ]
)
PATHS = st.text(st.sampled_from("ab1._-/A:"), max_size=6)
ENDS = st.sampled_from(
    ["", "", ":1", ":", ":a:b", ":-x", "@sha256:1", "@sha256:" + "0" * 64, ":x@sha512:" + "0" * 128, " "]
)
REFERENCES = st.builds(lambda *parts: "".join(parts), HOSTS, PATHS, ENDS)


def is_reference(text: str) -> bool:
    try:
        return bool(parse(text))
    except InvalidReferenceError:
        return False


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images=st.lists(REFERENCES, min_size=150, max_size=255, unique=True))
async def test_the_schema_s_grammar_of_images_is_that_of_the_parser(kinds: Api, images: list[str]) -> None:
    wanted = {i for i, image in enumerate(images) if not is_reference(image)}

    try:
        await create(kinds, Written("ImageListPullJob", {"images": images}))
        refused = set()
    except RefusedError as error:
        refused = {int(i) for i in re.findall(r"spec\.images\[(\d+)\]: ", error.message)}

    assert {images[i] for i in refused ^ wanted} == set()
