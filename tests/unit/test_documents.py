"""Files become documents with lines, whatever is in them."""

import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.store.documents import DocumentError, Node, documents


def values(text: str | bytes, *, is_json: bool = False) -> list[Any]:
    data = text if isinstance(text, bytes) else text.encode()
    return [each.value if isinstance(each, Node) else str(each) for each in documents(data, is_json=is_json)]


def only(text: str | bytes) -> Node:
    data = text if isinstance(text, bytes) else text.encode()
    (node,) = documents(data)
    assert isinstance(node, Node)
    return node


def error(text: str | bytes) -> DocumentError:
    data = text if isinstance(text, bytes) else text.encode()
    (wrong,) = [each for each in documents(data) if isinstance(each, DocumentError)]
    return wrong


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "# nothing\n", "---\n---\n", "--- # a\n...\n", "\ufeff", "null\n", "%YAML 1.1\n---\n"],
)
def test_a_file_without_content_has_no_document(text: str) -> None:
    assert values(text) == []


def test_documents_are_cut_at_their_marks() -> None:
    text = "a: 1\n---\nb: 2\n...\n# c\n%YAML 1.1\n---\nd: |\n  x\n  ---\n--- {e: 4}\n"

    assert values(text) == [{"a": 1}, {"b": 2}, {"d": "x\n---\n"}, {"e": 4}]


def test_windows_line_ends_are_fine() -> None:
    assert values("a: 1\r\n---\r\nb: 2\r\n") == [{"a": 1}, {"b": 2}]


def test_a_broken_document_leaves_the_others() -> None:
    text = b"a: 1\n---\nb: [\n---\nc: 3\n---\nd: \x07\n---\ne: \xff\n---\nf: 6\n"

    found = list(documents(text))

    assert [each.value for each in found if isinstance(each, Node)] == [{"a": 1}, {"c": 3}, {"f": 6}]
    assert [(each.line, each.message) for each in found if isinstance(each, DocumentError)] == [
        (4, "is not YAML: did not find expected node content"),
        (7, "is not YAML: it has control characters"),
        (9, "is not UTF-8"),
    ]


def test_each_field_has_its_line() -> None:
    node = only("# a comment\nkind: X\nspec:\n  list:\n  - a\n  - name: b\n    tags: [1,\n      2]\n")

    assert node.line_of(()) == 2
    assert node.line_of(("kind",)) == 2
    assert node.line_of(("spec",)) == 3
    assert node.line_of(("spec", "list", 0)) == 5
    assert node.line_of(("spec", "list", 1, "tags")) == 7
    assert node.line_of(("spec", "list", 1, "tags", 1)) == 8


def test_a_field_that_is_not_there_has_the_line_of_what_it_belongs_to() -> None:
    node = only("---\nkind: X\nspec:\n  image: a\n")

    assert node.line_of(("spec", "parallelism")) == 3
    assert node.line_of(("metadata", "name")) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("", None),
        ("null", None),
        ("true", True),
        ("yes", True),
        ("Off", False),
        ("y", "y"),
        ("0", 0),
        ("-12", -12),
        ("0600", 384),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b101", 5),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.2.3", "1.2.3"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("9" * 50, "9" * 50),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("!!bool yes", True),
        ("! 5", "5"),
        ("=", "="),
    ],
)
def test_a_scalar_means_what_it_means_to_kubectl(text: str, value: Any) -> None:
    assert only(f"[{text}, end]").value[0] == value if text else only("[~, end]").value[0] is None


def test_keys_are_text() -> None:
    assert only("{1: a, true: b, 0x1: c}").value == {"1": "a", "true": "b", "0x1": "c"}


def test_aliases_and_merges_are_followed() -> None:
    node = only(
        "base: &b {a: 1, b: 2}\nmore: &m {c: 3}\none:\n  <<: *b\n  b: 9\ntwo: {<<: [*b, *m]}\nsame: *b\n"
    )

    assert node.value["one"] == {"b": 9, "a": 1}
    assert node.value["two"] == {"a": 1, "b": 2, "c": 3}
    assert node.value["same"] == {"a": 1, "b": 2}
    assert node.line_of(("same",)) == 7
    assert node.line_of(("same", "a")) == 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "has the key 'a' twice in one mapping"),
        ("{<<: {a: 1}, <<: {a: 2}}", 1, "has the key '<<' twice in one mapping"),
        ("a: *b\n", 1, "has an alias (a word after *) without an anchor before it"),
        ("a: &a [*a]\n", 1, "has an alias (a word after *) without an anchor before it"),
        ("a:\n  <<: text\n", 2, "merges (<<) something that is not a mapping"),
        ("{<<: [text]}", 1, "merges (<<) something that is not a mapping"),
        ("{<<: []}", 1, "merges (<<) something that is not a mapping"),
        ("? [a]\n: b\n", 1, "has a key that is not text"),
        ("a: &a x\n*a : b\n", 2, "has a key that is not text"),
        ("a: !!python/object:os.system x\n", 1, "has a tag (a word after !) that is not known"),
        ("a: !mine {}\n", 1, "has a tag (a word after !) that is not known"),
        ("a: !!binary aGk=\n", 1, "has a tag (a word after !) that is not known"),
        ("[" * 101 + "]" * 101, 1, "is nested more than 100 deep"),
        ("[" * 100_000, 1, "is nested more than 100 deep"),
    ],
)
def test_what_is_dangerous_or_ambiguous_is_refused(text: str, line: int, message: str) -> None:
    wrong = error(text)

    assert (wrong.line, wrong.message) == (line, message)


def test_aliases_cannot_grow_a_document_without_bound() -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12)]

    wrong = error("l0: &l0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(levels))

    assert wrong.message == "is too big once its aliases are written out"


def test_an_unknown_alias_is_not_named_since_it_may_have_been_meant_as_a_password() -> None:
    assert "hunter2" not in str(error("password: *hunter2\n"))


def test_json_is_read_with_its_own_escapes() -> None:
    value = {
        "emoji": "😀",
        "slash": "/",
        "back": "\\ud83d\\ude00",
        "control": "\x07\x7f\u2028",
        "n": [1, 1.5, True, None],
    }

    assert values(json.dumps(value, indent="\t"), is_json=True) == [value]


def test_the_lines_of_json_are_told() -> None:
    node = only('{\n  "kind": "X",\n  "spec": {\n    "image": 5\n  }\n}\n')

    assert node.line_of(("spec", "image")) == 4


# How long one example takes says nothing on a machine that does other work, too.
unhurried = settings(deadline=None)
PIECES = "a|: |\n|- |  |---\n|...\n|&x |*x|<<|[|]|{|}|, |? |> |'|\"|#|%|!|!!str |\\u|\t|\r|\x00|\ufeff|é|0|~"
pieces = st.sampled_from([*PIECES.split("|"), "| "])


@unhurried
@given(
    st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=40).map("".join).map(str.encode)),
    st.booleans(),
)
@example(b"\xff\xfe" + "a: 1".encode("utf-16-le"), False)
@example(b'"\\ud83d"', True)
def test_no_bytes_raise(data: bytes, is_json: bool) -> None:
    lines = data.count(b"\n") + data.count(b"\r") + 2

    found = list(documents(data, is_json=is_json))

    assert all(1 <= each.line <= lines for each in found)


def is_written_for_1_2(text: str) -> bool:
    """Whether PyYAML quotes *text* where YAML 1.2 asks for it: to YAML 1.1, 1e3 and 0o7 are no numbers."""
    return not re.fullmatch(
        r"[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.?[0-9]+\.?[0-9]*[eE][0-9]+|[-+]?0o[0-7]+", text
    )


words = st.text(max_size=10).filter(is_written_for_1_2)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), words)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
)


@unhurried
@given(trees.filter(lambda tree: tree is not None))
def test_json_that_anybody_writes_reads_back(tree: Any) -> None:
    assert values(json.dumps(tree), is_json=True) == [tree]


@unhurried
@given(trees.filter(lambda tree: tree is not None))
def test_yaml_that_anybody_writes_reads_back(tree: Any) -> None:
    assert values(yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True)) == [tree]
