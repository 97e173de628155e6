"""Pull secrets on their way to one node: sealed with the key of its agent, so that no other can read them.

Libsodium's sealed boxes: X25519, XSalsa20 and Poly1305, with a key pair of each box's own. One Secret a node
holds one box for each source Secret. What a box holds is the JSON of the source's namespace, name, type and
data; its key in the Secret only tells it from others. PyNaCl is imported by what needs it.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from daemon.objects.images import Secret
from daemon.objects.meta import Key, ObjectMeta, Wire

if TYPE_CHECKING:
    from nacl.public import PrivateKey

_LONGEST = 253
"""Characters of a key in a Secret."""


class SealError(ValueError):
    """A key or a box is not what it should be; the message tells nothing of what is inside."""


class _Content(Wire, frozen=True):
    namespace: str
    name: str
    type: str = "Opaque"
    data: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The agent's pair: the public half is told to everybody, the private one never leaves its memory."""

    public: str
    """Base64, as in ``status.agent.publicKey``."""
    _private: "PrivateKey" = field(repr=False)

    @classmethod
    def new(cls) -> "SealingKey":
        """A pair that nobody had before."""
        from nacl.public import PrivateKey

        return cls._of(PrivateKey.generate())

    @classmethod
    def load(cls, private: bytes) -> "SealingKey":
        """The pair of a kept private half. Raises SealError."""
        from nacl.public import PrivateKey

        if len(private) != PrivateKey.SIZE:
            raise SealError(f"a private key has {PrivateKey.SIZE} bytes, not {len(private)}")
        return cls._of(PrivateKey(private))

    @classmethod
    def _of(cls, private: "PrivateKey") -> "SealingKey":
        return cls(base64.b64encode(bytes(private.public_key)).decode(), private)

    @property
    def private(self) -> bytes:
        """What ``load`` takes. A secret."""
        return bytes(self._private)

    def open(self, box: str) -> Secret:
        """The Secret in a box. Raises SealError: it is for another key, or was changed on its way."""
        from nacl.exceptions import CryptoError
        from nacl.public import SealedBox

        try:
            content = SealedBox(self._private).decrypt(base64.b64decode(box, validate=True))
            found = msgspec.json.decode(content, type=_Content)
        except (CryptoError, binascii.Error, ValueError):
            found = None
        # Raised out here, so that no error that may quote the content is chained.
        if found is None:
            raise SealError("a sealed box does not open: it is not for this key, or was changed")
        metadata = ObjectMeta(name=found.name, namespace=found.namespace)
        return Secret(metadata=metadata, type=found.type, data=found.data)


def box_name(source: Key) -> str:
    """Under which key the box of that Secret stands; a namespace has no dots, so no two are alike."""
    name = f"{source.namespace}.{source.name}"
    if len(name) <= _LONGEST:
        return name
    digest = sha256(name.encode()).hexdigest()
    return f"{name[: _LONGEST - len(digest) - 1]}.{digest}"


def seal(secret: Secret, public_key: str) -> str:
    """A box with *secret* for the holder of that key, as text for ``Secret.data``. Raises SealError.

    Two boxes of the same Secret differ: compare the source's resourceVersion instead.
    """
    from nacl.public import PublicKey, SealedBox

    try:
        key = PublicKey(base64.b64decode(public_key, validate=True))
    except (binascii.Error, ValueError) as error:
        raise SealError(f"{public_key!r} is no public key: base64 of {PublicKey.SIZE} bytes") from error
    content = _Content(
        namespace=secret.metadata.namespace,
        name=secret.metadata.name,
        type=secret.type,
        data=dict(_data(secret)),
    )
    return base64.b64encode(SealedBox(key).encrypt(msgspec.json.encode(content))).decode()


def _data(secret: Secret) -> Iterator[tuple[str, str]]:
    yield from secret.data.items()
    for name, text in secret.string_data.items():
        yield name, base64.b64encode(text.encode()).decode()
