"""Decides what a node says of the next revision of one of its pods. Pure."""

from collections.abc import Mapping, Set

import msgspec

from daemon.objects.next_revisions import (
    NO_SPACE,
    PULL_FAILED,
    PULLED,
    PULLING,
    WOULD_NOT_FIT,
    NextRevision,
)
from daemon.objects.references import InvalidReferenceError, parse

_MIB = 2**20


class Pull(msgspec.Struct, frozen=True):
    """How far the node is with one image."""

    phase: str
    """Waiting, Pulling, Unpacking, BackingOff, Succeeded or Failed."""
    percent: int = 0
    done: int = 0
    total: int = 0
    """Bytes; 0 while that is not known."""
    reason: str = ""
    message: str = ""


class Observed(msgspec.Struct, frozen=True):
    """What the answer depends on. Images are named in full, as runtimes name them."""

    announced: NextRevision
    present: Set[str]
    pulls: Mapping[str, Pull]
    shortage: str = ""
    """What of the resources the node has too little of; empty when they fit."""


class Answer(msgspec.Struct, frozen=True):
    """The condition ``inplaced.dev/NextRevisionReady``, less the revision that it is about."""

    ready: bool
    reason: str
    message: str

    @property
    def is_final(self) -> bool:
        """Whether only another event makes it another one: a pull that runs makes another any time."""
        return self.reason != PULLING


def images_of(announced: NextRevision) -> Mapping[str, str]:
    """The images of *announced* by their full names; what cannot be read is left out."""
    found = {}
    for image in announced.images.values():
        name = full_name(image)
        if name is not None:
            found[name] = image
    return found


def full_name(image: str) -> str | None:
    """How runtimes name *image*; None for what is no name of an image."""
    try:
        return parse(image).canonical
    except InvalidReferenceError:
        return None


def plan(seen: Observed) -> Answer:
    """What to say now."""
    for image in seen.announced.images.values():
        if full_name(image) is None:
            return Answer(False, PULL_FAILED, f"{image!r} is no name of an image: correct it in the template")
    absent = {name: each for name, each in images_of(seen.announced).items() if name not in seen.present}
    for name, image in absent.items():
        failure = _failure(seen.pulls.get(name), image)
        if failure is not None:
            return failure
    if absent:
        return Answer(
            False, PULLING, "; ".join(told(seen.pulls.get(name), each) for name, each in absent.items())
        )
    if seen.shortage:
        return Answer(False, WOULD_NOT_FIT, f"the node has too little for it: {seen.shortage}")
    return Answer(
        True, PULLED, "its images are on the node" if seen.announced.images else "it fits on the node"
    )


def _failure(pull: Pull | None, image: str) -> Answer | None:
    if pull is None:
        return None
    if pull.reason == NO_SPACE:
        return Answer(False, NO_SPACE, f"{image}: {pull.message}")
    if pull.phase == "Failed":
        return Answer(False, PULL_FAILED, f"{image}: {pull.reason}: {pull.message}")
    return None


def told(pull: Pull | None, image: str) -> str:
    """How far the node is with *image*."""
    match pull:
        case Pull(phase="Pulling" | "Unpacking", total=total) if total:
            done, whole = pull.done / _MIB, total / _MIB
            return f"{image}: {pull.percent} %, {done:.1f} of {whole:.1f} MiB"
        case Pull(phase="Pulling" | "Unpacking"):
            return f"{image}: {pull.percent} %"
        case Pull(phase="BackingOff"):
            return f"{image}: tried again after {pull.reason}: {pull.message}"
        case _:
            return f"{image}: waits for its turn"
