"""A directory of manifests, as users and their tools keep it."""

import json
import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.objects.meta import Key
from daemon.store.manifests import MAX_PROBLEMS, Manifests, Snapshot, parse
from daemon.store.problems import Problem
from daemon.store.records import ObjectId
from tests.functional.stores import SECRET, job_text

YESTERDAY = time.time() - 86_400


def names(snapshot: Snapshot) -> list[str]:
    return sorted(id_.key.name for id_ in snapshot.documents)


def images(snapshot: Snapshot) -> dict[str, str]:
    return {id_.key.name: document.obj.spec.image for id_, document in snapshot.documents.items()}  # type: ignore[union-attr]  # only pull jobs here


def job_id(name: str) -> ObjectId:
    return ObjectId("ImagePullJob", Key("default", name))


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    return Manifests(tmp_path)


def test_all_three_suffixes_and_several_documents_are_read(tmp_path: Path, manifests: Manifests) -> None:
    (tmp_path / "a.yaml").write_text(f"{job_text('a')}---\n{job_text('b')}")
    (tmp_path / "c.yml").write_text(job_text("c"))
    (tmp_path / "d.json").write_text(json.dumps(yaml.safe_load(job_text("d"))))

    snapshot = manifests.scan()

    assert names(snapshot) == ["a", "b", "c", "d"]
    assert snapshot.problems == ()
    assert str(snapshot.documents[job_id("b")].origin) == "a.yaml:8"


@pytest.mark.parametrize(
    "name", [".a.yaml", "a.yaml~", ".a.yaml.swp", "#a.yaml#", "4913", "a.txt", "README.md"]
)
def test_what_is_no_manifest_is_not_read(tmp_path: Path, manifests: Manifests, name: str) -> None:
    (tmp_path / name).write_text("not: [yaml")

    assert manifests.scan() == Snapshot({}, ())


def test_directories_and_pipes_are_not_read(tmp_path: Path, manifests: Manifests) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "folder.yaml" / "a.yaml").write_text(job_text("a"))
    os.mkfifo(tmp_path / "pipe.yaml")

    assert manifests.scan() == Snapshot({}, ())


def test_a_list_of_kubectl_is_taken_apart(tmp_path: Path, manifests: Manifests) -> None:
    items = [yaml.safe_load(job_text("a")), yaml.safe_load(job_text("b")) | {"kind": "Pod"}]
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}, sort_keys=False)
    (tmp_path / "a.yaml").write_text(text)

    snapshot = manifests.scan()

    assert names(snapshot) == ["a"]
    (problem,) = snapshot.problems
    assert (problem.line, problem.field, problem.value) == (11, "kind", '"Pod"')


def test_a_problem_tells_file_line_object_field_value_and_what_is_allowed(
    tmp_path: Path, manifests: Manifests
) -> None:
    (tmp_path / "a.yaml").write_text(
        job_text("good") + "---\n" + job_text("bad", extra="  parallelism: -1\n")
    )

    snapshot = manifests.scan()

    assert names(snapshot) == ["good"]
    assert snapshot.problems == (
        Problem(
            file="a.yaml",
            line=14,
            message="is negative",
            object="ImagePullJob default/bad",
            field="spec.parallelism",
            value="-1",
            allowed="an integer from 0, or a percentage from 0% to 100%",
        ),
    )
    assert str(snapshot.problems[0]).startswith(
        "a.yaml:14: ImagePullJob default/bad spec.parallelism -1 is negative"
    )


def test_a_broken_document_leaves_those_around_it(tmp_path: Path, manifests: Manifests) -> None:
    (tmp_path / "a.yaml").write_text(f"{job_text('a')}---\nkind: [\n---\n{job_text('c')}")

    snapshot = manifests.scan()

    assert names(snapshot) == ["a", "c"]
    assert [problem.line for problem in snapshot.problems] == [9]


def test_the_first_file_by_name_has_an_object_that_two_declare(tmp_path: Path, manifests: Manifests) -> None:
    (tmp_path / "b.yaml").write_text(job_text("web", "b:1"))
    (tmp_path / "a.yaml").write_text(job_text("web", "a:1") + "---\n" + job_text("web", "c:1"))

    snapshot = manifests.scan()

    assert images(snapshot) == {"web": "a:1"}
    assert [(problem.file, problem.line, problem.message) for problem in snapshot.problems] == [
        ("a.yaml", 8, "is declared in a.yaml:1 already, which counts"),
        ("b.yaml", 1, "is declared in a.yaml:1 already, which counts"),
    ]


def test_a_file_over_the_limit_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(job_text("a") + "#" * 1000)
    (tmp_path / "b.yaml").write_text(job_text("b"))

    snapshot = Manifests(tmp_path, max_bytes=500).scan()

    assert names(snapshot) == ["b"]
    assert [(problem.message, problem.allowed) for problem in snapshot.problems] == [
        ("is too big", "at most 500 bytes")
    ]


def test_a_file_with_very_many_problems_tells_some(tmp_path: Path, manifests: Manifests) -> None:
    (tmp_path / "a.yaml").write_text("---\nx: y\n" * 500)

    snapshot = manifests.scan()

    assert len(snapshot.problems) == MAX_PROBLEMS + 1
    assert snapshot.problems[-1].message == f"has {500 - MAX_PROBLEMS} more problems"


def test_a_secrets_value_is_in_no_problem(tmp_path: Path, manifests: Manifests) -> None:
    (tmp_path / "a.yaml").write_text(
        SECRET.replace("{name: creds}", "{name: Creds}").replace("stringData", "stringdata")
    )

    snapshot = manifests.scan()

    assert {problem.field for problem in snapshot.problems} == {"stringdata"}
    assert "hunter2" not in str(snapshot)


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path, manifests: Manifests) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(job_text("a"))
    os.utime(path, (YESTERDAY, YESTERDAY))
    before = manifests.scan().documents[job_id("a")]

    after = manifests.scan().documents[job_id("a")]

    assert after is before


def test_a_file_that_changed_within_one_tick_is_read_again(tmp_path: Path, manifests: Manifests) -> None:
    path = tmp_path / "a.yaml"
    for image in ("a:1", "a:2", "a:3", "a:4"):
        path.write_text(job_text("a", image))

        assert images(manifests.scan()) == {"a": image}


def test_a_removed_file_takes_its_objects_along(tmp_path: Path, manifests: Manifests) -> None:
    (tmp_path / "a.yaml").write_text(job_text("a"))
    manifests.scan()

    (tmp_path / "a.yaml").unlink()

    assert manifests.scan() == Snapshot({}, ())


@pytest.mark.parametrize(
    "broken", ["kind: [", "", "# soon\n", job_text("a")[:60], job_text("a", image="A"), "\x00"]
)
def test_a_file_that_was_right_keeps_its_objects_while_it_is_broken(
    tmp_path: Path, manifests: Manifests, broken: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(job_text("a"))
    manifests.scan()

    path.write_text(broken)
    snapshot = manifests.scan()

    assert images(snapshot) == {"a": "nginx:1"}
    assert snapshot.problems[-1].message == "stays as it was last read, until the file is right again"
    path.write_text(job_text("a", "nginx:2"))
    assert manifests.scan() == Snapshot(manifests.scan().documents, ())
    assert images(manifests.scan()) == {"a": "nginx:2"}


def test_an_object_that_is_kept_stays_through_several_broken_versions(
    tmp_path: Path, manifests: Manifests
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(job_text("a"))
    manifests.scan()
    path.write_text("kind: [")
    manifests.scan()

    path.write_text("kind: {")

    assert names(manifests.scan()) == ["a"]


def test_an_object_goes_although_another_in_its_file_is_broken(tmp_path: Path, manifests: Manifests) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(job_text("a") + "---\n" + job_text("b"))
    manifests.scan()

    path.write_text(job_text("a", "A"))
    snapshot = manifests.scan()

    assert names(snapshot) == ["a"]


def test_a_kept_object_gives_way_to_one_in_another_file(tmp_path: Path, manifests: Manifests) -> None:
    (tmp_path / "a.yaml").write_text(job_text("a", "old:1"))
    manifests.scan()

    (tmp_path / "a.yaml").write_text("kind: [")
    (tmp_path / "b.yaml").write_text(job_text("a", "new:1"))
    snapshot = manifests.scan()

    assert images(snapshot) == {"a": "new:1"}
    assert [problem.file for problem in snapshot.problems] == ["a.yaml"]


def test_an_unreadable_file_keeps_its_objects(tmp_path: Path, manifests: Manifests) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(job_text("a"))
    manifests.scan()

    path.unlink()
    path.symlink_to("a.yaml")  # A link to itself cannot be opened by anybody, root included.
    snapshot = manifests.scan()

    assert names(snapshot) == ["a"]
    assert snapshot.problems[0].message == "cannot be read: Too many levels of symbolic links"


def test_a_missing_directory_takes_nothing_away(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(job_text("a"))
    manifests = Manifests(folder)
    manifests.scan()

    folder.rename(tmp_path / "elsewhere")
    snapshot = manifests.scan()

    assert names(snapshot) == ["a"]
    assert snapshot.problems[0].message == "cannot read the manifest directory: No such file or directory"


def test_a_config_map_mount_is_read_and_its_swap_seen(tmp_path: Path, manifests: Manifests) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "a.yaml").write_text(job_text("a", f"nginx:{version}"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    before = images(manifests.scan())

    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    after = images(manifests.scan())

    assert (before, after) == ({"a": "nginx:1"}, {"a": "nginx:2"})
    assert manifests.folders() == {tmp_path, tmp_path / "..2"}


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(tmp_path: Path, manifests: Manifests) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.yaml"
    with open(path, "wb") as file:  # noqa: PTH123 - pathlib knows no names in bytes
        file.write(b"kind: [")

    (problem,) = manifests.scan().problems

    assert problem.file == "\\xff.yaml"
    assert str(problem).encode()


# How long one example takes says nothing on a machine that does other work, too.
unhurried = settings(deadline=None)

raw = yaml.safe_load(job_text("a", extra="  pullPolicy: {timeoutSeconds: 5}\n  selector: {names: [a]}\n"))
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=5,
)
fields = st.dictionaries(
    st.sampled_from(
        ["image", "images", "selector", "podSelector", "parallelism", "pullPolicy", "completionPolicy"]
    ),
    junk,
    max_size=3,
)
kinds = st.sampled_from(["ImagePullJob", "ImageListPullJob", "Secret", "List", "NodeImage"])


@unhurried
@given(st.dictionaries(st.sampled_from(["metadata", "items", "data", "type", "status"]), junk), fields, kinds)
def test_no_document_raises(top: dict[str, object], spec: dict[str, object], kind: str) -> None:
    document = raw | {"spec": raw["spec"] | spec, "kind": kind} | top
    text = yaml.dump(document, Dumper=yaml.CSafeDumper).encode()

    content = parse(text, "a.yaml")

    assert content.documents or content.problems or kind == "List"
    assert all(1 <= problem.line <= text.count(b"\n") + 1 for problem in content.problems)


@unhurried
@given(st.data())
def test_no_damage_to_a_manifest_raises(data: st.DataObject) -> None:
    text = bytearray((job_text("a") + "---" + SECRET).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        text[start : start + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))

    content = parse(bytes(text), "a.yaml")

    assert len(content.documents) <= 4
    assert all(problem.file == "a.yaml" and problem.message for problem in content.problems)
