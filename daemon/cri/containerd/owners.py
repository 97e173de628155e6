"""Who has pinned an image: the value of our label on an image record. Pure."""

from typing import Final

import msgspec
from msgspec.structs import replace

_SHARED: Final = "*"
"""No image reference is one, and none has a space in it."""


class Owners(msgspec.Struct, frozen=True):
    """The references for which we pinned an image."""

    refs: frozenset[str] = frozenset()
    shared: bool = False
    """Whether somebody else had pinned the image before: their pin stays when ours goes."""

    def joined_by(self, ref: str) -> "Owners":
        """The owners and *ref*."""
        return replace(self, refs=self.refs | {ref})

    def left_by(self, ref: str) -> "Owners":
        """The owners without *ref*."""
        return replace(self, refs=self.refs - {ref})

    def __str__(self) -> str:
        """The label's value; empty, which removes the label, for nobody."""
        return " ".join(([_SHARED] if self.shared else []) + sorted(self.refs)) if self.refs else ""


def owners_in(label: str) -> Owners:
    """Read the label's value."""
    words = frozenset(label.split())
    return Owners(words - {_SHARED}, shared=_SHARED in words)
