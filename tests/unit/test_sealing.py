"""Sealed secrets: only the node they are for can read them, and no text tells what they hold."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.objects.images import Secret
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.sealing import SealError, SealingKey, box_name, seal

DOCKER = "kubernetes.io/dockerconfigjson"


def secret(**data: str) -> Secret:
    metadata = ObjectMeta(name="registry", namespace="shop", uid="u-1", labels={"a": "b"})
    return Secret(metadata=metadata, type=DOCKER, data=data)


@pytest.fixture(scope="module")
def key() -> SealingKey:
    return SealingKey.new()


def test_who_holds_the_key_reads_what_was_sealed(key: SealingKey) -> None:
    found = key.open(seal(secret(a="aGk="), key.public))

    assert (found.metadata.key, found.type, found.data) == (Key("shop", "registry"), DOCKER, {"a": "aGk="})


def test_plain_data_is_sealed_as_the_api_server_would_store_it(key: SealingKey) -> None:
    plain = Secret(metadata=ObjectMeta(name="a"), string_data={"a": "hi"}, data={"a": "old"})

    assert key.open(seal(plain, key.public)).data == {"a": base64.b64encode(b"hi").decode()}


def test_another_key_reads_nothing(key: SealingKey) -> None:
    box = seal(secret(a="aGk="), SealingKey.new().public)

    with pytest.raises(SealError) as caught:
        key.open(box)

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@given(st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_box_does_not_open(at: int, change: int) -> None:
    key = SealingKey.new()
    raw = bytearray(base64.b64decode(seal(secret(a="aGk="), key.public)))
    raw[at % len(raw)] ^= change

    with pytest.raises(SealError):
        key.open(base64.b64encode(raw).decode())


@pytest.mark.parametrize("box", ["", "!", "aGk=", "ü"])
def test_what_is_no_box_does_not_open(key: SealingKey, box: str) -> None:
    with pytest.raises(SealError):
        key.open(box)


@pytest.mark.parametrize("public", ["", "!", "aGk=", "ü"])
def test_what_is_no_public_key_seals_nothing(public: str) -> None:
    with pytest.raises(SealError, match="no public key"):
        seal(secret(), public)


def test_a_kept_private_half_gives_the_same_pair(key: SealingKey) -> None:
    again = SealingKey.load(key.private)

    assert again.public == key.public
    assert again.open(seal(secret(a="aGk="), key.public)).data == {"a": "aGk="}


def test_a_private_half_of_another_size_is_refused() -> None:
    with pytest.raises(SealError, match="32 bytes, not 3"):
        SealingKey.load(b"abc")


def test_no_text_of_a_pair_holds_its_private_half(key: SealingKey) -> None:
    assert repr(key) == f"SealingKey(public={key.public!r})"


def test_the_same_secret_never_looks_the_same_twice(key: SealingKey) -> None:
    assert seal(secret(a="aGk="), key.public) != seal(secret(a="aGk="), key.public)


@given(st.integers(1, 63), st.integers(1, 253))
def test_the_name_of_a_box_is_one_that_a_secret_may_have(namespace: int, name: int) -> None:
    found = box_name(Key("n" * namespace, "s" * name))

    assert len(found) <= 253
    assert found.startswith("n" * namespace + ".")


def test_boxes_of_long_names_that_differ_at_the_end_differ() -> None:
    one, other = (box_name(Key("n" * 63, "s" * 250 + end)) for end in "ab")

    assert one != other
