"""Reads a Dockerfile: as much of the format as ours uses, and an error for anything else."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.testbed.session import TestbedError

SETTINGS: Final = frozenset({"ENV", "LABEL", "USER", "ENTRYPOINT"})
"""They change how an image is run, not what is in it."""


@dataclass(frozen=True, slots=True)
class Run:
    """A shell command that changes files."""

    command: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Files that are taken from the checkout, or from another stage."""

    sources: tuple[str, ...]
    target: str
    stage: str = ""


Step = Run | Copy


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM with what follows it."""

    base: str
    """An image, or the name of an earlier stage."""
    name: str
    steps: tuple[Step, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    entrypoint: tuple[str, ...] = ()


def parse(text: str) -> list[Stage]:
    """The stages of a Dockerfile, in order. Raises TestbedError."""
    stages: list[list[tuple[str, str]]] = []
    for line in _lines(text):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        if not stages:
            raise TestbedError(f"Dockerfile: {line!r} comes before the first FROM")
        stages[-1].append((word, rest.strip()))
    return [_stage(instructions) for instructions in stages]


def _lines(text: str) -> Iterator[str]:
    """Instructions without comments, each on one line."""
    kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    yield from re.sub(r"\s*\\\n\s*", " ", "\n".join(kept)).splitlines()


def _stage(instructions: list[tuple[str, str]]) -> Stage:
    (_, origin), *others = instructions
    base, _, name = origin.partition(" AS ")
    settings = [(word, rest) for word, rest in others if word in SETTINGS]
    return Stage(
        base=base,
        name=name,
        steps=tuple(_step(word, rest) for word, rest in others if word not in SETTINGS),
        env=_assignments(settings, "ENV"),
        labels=_assignments(settings, "LABEL"),
        user=next((rest for word, rest in settings if word == "USER"), ""),
        entrypoint=tuple(next((json.loads(rest) for word, rest in settings if word == "ENTRYPOINT"), ())),
    )


def _step(word: str, rest: str) -> Step:
    if word == "RUN":
        return Run(rest)
    if word != "COPY":
        raise TestbedError(f"Dockerfile: the test bed cannot follow {word}: teach {__name__}, or do without")
    words = shlex.split(rest)
    stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
    return Copy(tuple(words[:-1]), words[-1], stage)


def _assignments(settings: list[tuple[str, str]], wanted: str) -> dict[str, str]:
    pairs = [shlex.split(rest) for word, rest in settings if word == wanted]
    return dict(pair.split("=", 1) for words in pairs for pair in words)
