"""State files: YAML that every reader understands alike, written fast."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daemon.store.documents import Node, documents
from daemon.store.emitting import emitted

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    [
        "",
        "~",
        "no",
        "Off",
        "NULL",
        "1",
        "1e3",
        "0x1f",
        "12:30:45",
        "- a",
        "a: b",
        "a #b",
        "#",
        "a:",
        "? ",
        "|",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_another_reader_finds_what_was_written(value: dict[str, object]) -> None:
    text = emitted(value)

    assert yaml.load(text, Loader=yaml.CSafeLoader) == value


@given(st.dictionaries(TEXTS.filter(lambda key: key != "<<"), VALUES, min_size=1, max_size=5))
def test_the_store_reads_what_it_wrote(value: dict[str, object]) -> None:
    text = emitted(value)

    [node] = documents(text.encode())
    assert isinstance(node, Node)
    assert node.value == value


def test_a_document_looks_as_people_write_it() -> None:
    value = {
        "kind": "NodeImage",
        "metadata": {"name": "node-1", "uid": "12", "labels": {}},
        "status": {
            "desired": 2,
            "message": "job has completed",
            "tags": [{"tag": "1.0", "done": True, "imageID": "r.io/app@sha256:0a"}, {"tag": "v1"}],
            "nodes": ["a", "b c", "no"],
        },
    }

    text = emitted(value)

    assert text == (
        "kind: NodeImage\n"
        "metadata:\n"
        "  name: node-1\n"
        '  uid: "12"\n'
        "  labels: {}\n"
        "status:\n"
        "  desired: 2\n"
        "  message: job has completed\n"
        "  tags:\n"
        '  - tag: "1.0"\n'
        "    done: true\n"
        "    imageID: r.io/app@sha256:0a\n"
        "  - tag: v1\n"
        "  nodes:\n"
        "  - a\n"
        "  - b c\n"
        '  - "no"\n'
    )


@pytest.mark.parametrize("length", [1, 998, 1001, 3000])
def test_a_key_of_any_length_is_found_again(length: int) -> None:
    value = {"a" * length: {"b" * length: [{"1" * length: "c" * length}]}}

    text = emitted(value)

    assert yaml.load(text, Loader=yaml.CSafeLoader) == value
