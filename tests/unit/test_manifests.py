"""Documents of images: what is read from them, and that nothing but ManifestError comes of bad ones."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri.extras import Blob
from daemon.cri.manifests import (
    Index,
    Manifest,
    ManifestError,
    Platform,
    chain_id,
    diff_ids,
    digest_of,
    parse,
)

A = {"digest": f"sha256:{'a' * 64}", "size": 1}

digests = st.binary(min_size=32, max_size=32).map(lambda some: f"sha256:{some.hex()}")
blobs = st.builds(Blob, digests, st.integers(0, 2**40))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
keys = st.sampled_from(
    ["config", "layers", "manifests", "digest", "size", "rootfs", "diff_ids", "schemaVersion"]
)
likely_values = st.recursive(
    json_values | digests, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner)
)


def descriptor(blob: Blob) -> dict[str, object]:
    return {"mediaType": "application/octet-stream", "digest": blob.digest, "size": blob.size}


def document(**parts: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **parts}).encode()


@given(blobs, st.lists(blobs, max_size=4))
def test_a_manifest_gives_its_config_and_layers_in_order(config: Blob, layers: list[Blob]) -> None:
    parsed = parse(document(config=descriptor(config), layers=[descriptor(layer) for layer in layers]))

    assert parsed == Manifest(config, tuple(layers))


@given(st.lists(blobs, max_size=4))
def test_an_index_gives_its_manifests_in_order(manifests: list[Blob]) -> None:
    parsed = parse(document(manifests=[descriptor(manifest) for manifest in manifests]))

    assert parsed == Index(tuple((None, manifest) for manifest in manifests))


@given(blobs, blobs)
def test_an_index_gives_the_platforms_that_it_tells(told: Blob, untold: Blob) -> None:
    arm = {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"}

    parsed = parse(document(manifests=[{**descriptor(told), "platform": arm}, descriptor(untold)]))

    assert parsed == Index(((Platform("linux", "arm", "v7"), told), (None, untold)))


@given(likely_values)
def test_any_other_document_is_refused_and_nothing_else_happens(value: object) -> None:
    text = json.dumps(value).encode()

    for read in (parse, diff_ids):
        try:
            read(text)
        except ManifestError:
            continue
        assert isinstance(value, dict)
        assert value.keys() & {"layers", "manifests", "rootfs"}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "<html>",
        "[" * 100_000,
        "{}",
        '{"schemaVersion": 1, "fsLayers": [{"blobSum": "sha256:a"}]}',
        '{"schemaVersion": 1, "layers": 5}',
        json.dumps({"config": A}),
        json.dumps({"layers": []}),
        json.dumps({"config": A, "layers": [], "manifests": []}),
        json.dumps({"config": A | {"size": -1}, "layers": []}),
        json.dumps({"config": A | {"size": 2**63}, "layers": []}),
        json.dumps({"config": A | {"size": "1"}, "layers": []}),
        json.dumps({"config": {"size": 1}, "layers": []}),
        json.dumps({"config": {"size": 1, "digest": "sha256:../../etc"}, "layers": []}),
        json.dumps({"manifests": [{"size": 1, "digest": "md5:" + "a" * 32}]}),
    ],
)
def test_what_is_no_manifest_is_refused(body: str) -> None:
    with pytest.raises(ManifestError):
        parse(body.encode())


def test_schema_1_is_refused_with_a_remedy() -> None:
    with pytest.raises(ManifestError, match="rebuild"):
        parse(b'{"schemaVersion": 1}')


def test_a_document_is_addressed_by_any_algorithm() -> None:
    assert digest_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [len(digest_of(b"", algorithm)) for algorithm in ("sha384", "sha512")] == [7 + 96, 7 + 128]


@given(st.binary())
def test_bytes_that_are_no_json_are_refused(some: bytes) -> None:
    with pytest.raises(ManifestError):
        parse(b"\xff" + some)
    with pytest.raises(ManifestError):
        diff_ids(b"\xff" + some)


@pytest.mark.parametrize(
    "some", [b'{"x":' + b"[" * 100_000, b'{"config":{"digest":"\xff"},"rootfs":{"diff_ids":["\xff"]}}']
)
def test_text_that_no_decoder_takes_is_refused(some: bytes) -> None:
    with pytest.raises(ManifestError):
        parse(some)
    with pytest.raises(ManifestError):
        diff_ids(some)


@pytest.mark.parametrize(
    ("digest", "size"),
    [
        ("sha256:abc", 1),
        (f"md5:{'0' * 32}", 1),
        (f"sha256:{'A' * 64}", 1),
        (f"sha256:{'0' * 64}", -1),
        (f"sha256:{'0' * 64}", 2**63),
        (f"sha256:{'0' * 64}\n", 1),
    ],
)
def test_a_descriptor_with_a_wrong_digest_or_size_is_refused(digest: str, size: int) -> None:
    with pytest.raises(ManifestError):
        parse(document(manifests=[{"digest": digest, "size": size}]))


@given(st.lists(digests, max_size=4))
def test_a_configuration_gives_its_diff_ids_in_order(layers: list[str]) -> None:
    config = json.dumps({"architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": layers}})

    assert diff_ids(config.encode()) == tuple(layers)


def test_the_chain_of_one_layer_is_the_layer() -> None:
    assert chain_id([f"sha256:{'1' * 64}"]) == f"sha256:{'1' * 64}"


def test_no_layers_have_no_chain() -> None:
    assert chain_id([]) == ""


@given(st.lists(digests, min_size=1, max_size=4), digests)
def test_each_layer_is_hashed_onto_the_chain_below_it(below: list[str], top: str) -> None:
    chain = chain_id([*below, top])

    text = f"{chain_id(below)} {top}"
    assert chain == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
