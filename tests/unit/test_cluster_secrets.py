"""Pull secrets of a cluster's node: found where they lie, waited for a while, never lost by an outage."""

import asyncio
from collections.abc import Callable

import pytest

from daemon.engine.objects import NotFoundError, ObjectsError
from daemon.nodeimages.cluster_secrets import ClusterSecrets, Patience
from daemon.objects.images import Secret, SecretReference
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.sealing import SealingKey, box_name, seal
from tests.fakes.clock import LoopClock

pytestmark = pytest.mark.looptime

OWN = Key("inplaced-node-secrets", "n1")
SOURCE = Key("shop", "registry")
REFERENCE = SecretReference(namespace="shop", name="registry")
COPY = Key("kruise-daemon-config", "registry-abc123")


def secret(key: Key, **data: str) -> Secret:
    return Secret(metadata=ObjectMeta(name=key.name, namespace=key.namespace), data=data)


class Stored:
    """What the API server holds, and how often it was asked."""

    def __init__(self) -> None:
        self.secrets: dict[Key, Secret] = {}
        self.asked: list[Key] = []
        self.trouble: ObjectsError | None = None

    async def read(self, key: Key) -> Secret:
        self.asked.append(key)
        await asyncio.sleep(0.01)
        if self.trouble is not None:
            raise self.trouble
        if key not in self.secrets:
            raise NotFoundError(str(key))
        return self.secrets[key]

    def put_sealed(self, public: str, *sources: Secret) -> None:
        boxes = {box_name(each.metadata.key): seal(each, public) for each in sources}
        self.secrets[OWN] = secret(OWN, **boxes)


@pytest.fixture(scope="module")
def key() -> SealingKey:
    return SealingKey.new()


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def found(stored: Stored, key: SealingKey) -> ClusterSecrets:
    return ClusterSecrets(stored.read, OWN, key, LoopClock(), Patience(limit=10.0, pause=0.25, again=60.0))


def later(seconds: float, act: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, act)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_sealed_secret_is_opened(stored: Stored, found: ClusterSecrets, key: SealingKey) -> None:
    stored.put_sealed(key.public, secret(SOURCE, a="aGk="))

    answer = await found.find(REFERENCE)

    assert answer is not None
    assert (answer.metadata.key, answer.data) == (SOURCE, {"a": "aGk="})
    assert stored.asked == [OWN]


@pytest.mark.parametrize(
    "reference",
    [
        SecretReference(namespace=COPY.namespace, name=COPY.name, mode="batch"),
        SecretReference(namespace=COPY.namespace, name=COPY.name),
        SecretReference(name=COPY.name, mode="batch"),
    ],
)
async def test_a_copy_of_openkruises_manager_is_read_as_it_is(
    stored: Stored, found: ClusterSecrets, reference: SecretReference
) -> None:
    stored.secrets[COPY] = secret(COPY, a="aGk=")

    assert await found.find(reference) == stored.secrets[COPY]
    assert stored.asked == [COPY]


async def test_a_copy_that_is_missing_is_not_waited_for(stored: Stored, found: ClusterSecrets) -> None:
    assert await found.find(SecretReference(namespace=COPY.namespace, name="gone", mode="batch")) is None
    assert now() < 0.1


async def test_a_rotated_secret_is_seen_by_the_next_attempt(stored: Stored, found: ClusterSecrets) -> None:
    reference = SecretReference(namespace=COPY.namespace, name=COPY.name, mode="batch")
    stored.secrets[COPY] = secret(COPY, a="old")
    await found.find(reference)

    stored.secrets[COPY] = secret(COPY, a="new")
    await asyncio.sleep(1.1)
    answer = await found.find(reference)

    assert answer is not None
    assert answer.data == {"a": "new"}


async def test_pulls_that_begin_together_ask_once(
    stored: Stored, found: ClusterSecrets, key: SealingKey
) -> None:
    stored.put_sealed(key.public, secret(SOURCE))

    answers = await asyncio.gather(*(found.find(REFERENCE) for _ in range(20)))

    assert all(answers)
    assert stored.asked == [OWN]


async def test_a_secret_that_is_on_its_way_is_waited_for(
    stored: Stored, found: ClusterSecrets, key: SealingKey
) -> None:
    later(3.0, lambda: stored.put_sealed(key.public, secret(SOURCE)))

    assert await found.find(REFERENCE) is not None
    assert now() < 6.0


async def test_a_secret_for_the_key_of_an_earlier_start_is_waited_for(
    stored: Stored, found: ClusterSecrets, key: SealingKey
) -> None:
    stored.put_sealed(SealingKey.new().public, secret(SOURCE))
    later(3.0, lambda: stored.put_sealed(key.public, secret(SOURCE)))

    assert await found.find(REFERENCE) is not None


async def test_a_secret_that_never_comes_is_waited_for_once(stored: Stored, found: ClusterSecrets) -> None:
    assert await found.find(REFERENCE) is None
    first = now()
    assert await found.find(REFERENCE) is None

    assert first == pytest.approx(10.0, abs=2.5)
    assert now() - first < 0.1
    assert len(stored.asked) < 15


async def test_a_box_under_the_name_of_another_secret_serves_nobody(
    stored: Stored, found: ClusterSecrets, key: SealingKey
) -> None:
    other = secret(Key("shop", "other"))
    stored.secrets[OWN] = secret(OWN, **{box_name(SOURCE): seal(other, key.public)})

    assert await found.find(REFERENCE) is None


async def test_what_was_read_serves_while_nobody_answers(
    stored: Stored, found: ClusterSecrets, key: SealingKey
) -> None:
    stored.put_sealed(key.public, secret(SOURCE))
    await found.find(REFERENCE)

    stored.trouble = ObjectsError("the API server is away")
    await asyncio.sleep(3600)

    assert await found.find(REFERENCE) is not None


async def test_a_secret_that_was_removed_serves_no_longer(
    stored: Stored, found: ClusterSecrets, key: SealingKey
) -> None:
    stored.put_sealed(key.public, secret(SOURCE))
    await found.find(REFERENCE)

    del stored.secrets[OWN]
    await asyncio.sleep(2)

    assert await found.find(REFERENCE) is None


async def test_only_a_few_are_kept(stored: Stored, found: ClusterSecrets) -> None:
    for number in range(200):
        each = Key(COPY.namespace, f"s{number}")
        stored.secrets[each] = secret(each)
        await found.find(SecretReference(namespace=each.namespace, name=each.name, mode="batch"))

    stored.trouble = ObjectsError("the API server is away")
    await asyncio.sleep(3600)
    kept = [
        await found.find(SecretReference(namespace=COPY.namespace, name=f"s{number}", mode="batch"))
        for number in range(199, -1, -1)
    ]

    assert sum(each is not None for each in kept) <= 64
    assert kept[0] is not None
