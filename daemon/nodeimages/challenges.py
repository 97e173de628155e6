"""Reads the WWW-Authenticate headers of a registry (RFC 9110, 11.6.1). Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_SCHEME = re.compile(rf"({_WORD})(?=\s|,|$)")
_GAP = re.compile(r"[\s,]*")
_ESCAPED = re.compile(r"\\(.)")


class Challenge(msgspec.Struct, frozen=True):
    """One way in: the scheme in lower case, and its parameters with names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges in order; what is malformed ends its header."""
    return tuple(challenge for header in headers for challenge in _challenges(header))


def preferred(challenges: Iterable[Challenge]) -> Challenge | None:
    """The one to answer: a token is worth less than a password if it is stolen."""
    known = {challenge.scheme: challenge for challenge in reversed(tuple(challenges))}
    return known.get("bearer") or known.get("basic")


def _challenges(header: str) -> Iterator[Challenge]:
    position = _after(_GAP, header, 0)
    while scheme := _SCHEME.match(header, position):
        parameters: dict[str, str] = {}
        position = _after(_GAP, header, scheme.end())
        while found := _PARAMETER.match(header, position):
            quoted, plain = found.group(2, 3)
            value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
            parameters.setdefault(found.group(1).lower(), value)
            position = _after(_GAP, header, found.end())
        yield Challenge(scheme.group(1).lower(), parameters)


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position
