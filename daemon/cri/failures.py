"""Tells what a failed call means from its gRPC code and the runtime's free text. Pure.

Runtimes report most failures of a pull as UNKNOWN plus the chain of their own errors, the cause last. So the
text is searched, from the most telling cause to the least: a network failure while a token is fetched says
"failed to authorize" too, and a full disk may end in "context canceled".
"""

import re
from typing import Final

from daemon.cri import errors

Kind = type[errors.CriError]

_BY_CODE: Final[dict[str, Kind]] = {
    "UNAVAILABLE": errors.RuntimeDownError,
    "DEADLINE_EXCEEDED": errors.TimedOutError,
    "UNIMPLEMENTED": errors.UnsupportedError,
    "NOT_FOUND": errors.NotFoundError,
    "ALREADY_EXISTS": errors.AlreadyExistsError,
}

_PULL_BY_CODE: Final[dict[str, Kind]] = {
    "UNAVAILABLE": errors.RuntimeDownError,
    "DEADLINE_EXCEEDED": errors.TimedOutError,
    # Our own cancel is never answered: this one is the runtime's, when a pull made no progress for too long.
    "CANCELLED": errors.TimedOutError,
    "UNIMPLEMENTED": errors.RuntimeDownError,  # CRI is not served (yet): pulling is what all of them can
    "UNAUTHENTICATED": errors.UnauthorizedError,
    "PERMISSION_DENIED": errors.DeniedError,
    "NOT_FOUND": errors.ImageNotFoundError,
}

# Regular expressions in lower case. The first class of which one is found wins.
_CAUSES: Final[tuple[tuple[Kind, tuple[str, ...]], ...]] = (
    (
        errors.RuntimeDownError,
        (
            "dial unix",
            "server is not initialized",  # containerd, while its CRI plugin starts
            "transport is closing",
            "error reading from server",
            r"connection is (?:draining|closing)",
            "connection lost",
            "cannot connect to the docker daemon",
        ),
    ),
    (
        errors.NoSpaceError,
        ("no space left on device", "disk quota exceeded", r"not enough (?:free )?(?:disk )?space"),
    ),
    (
        errors.WrongPlatformError,
        (
            "no match for (?:current )?platform",
            "no matching manifest for",
            "no image found in (?:manifest list|image index) for architecture",
            "image (?:architecture|operating system) mismatch",
        ),
    ),
    (
        errors.InvalidReferenceError,
        (
            "invalid reference format",
            "failed to parse (?:image )?reference",
            "parsing image (?:name|reference)",
            "could(?:n't| not) parse (?:image name|reference)",
            "invalid image name",
            "must be lowercase",
            "invalid (?:tag|checksum digest)",
            "unsupported digest algorithm",
            "short-name",  # CRI-O, of a reference without a registry where none is the default
        ),
    ),
    (
        errors.TlsFailureError,
        (
            "x509:",
            r"\btls:",
            "certificate (?:signed by|has expired|is not)",
            "http response to https client",
        ),
    ),
    (errors.RateLimitedError, (r"too\s?many\s?requests", r"\b429\b", "rate[ -]limit")),
    (
        errors.RegistryUnreachableError,
        (
            "dial tcp",
            "proxyconnect",
            "no such host",
            "server misbehaving",
            "name resolution",
            "connection (?:refused|reset|timed out)",
            "broken pipe",
            "io timeout",
            "handshake timeout",
            "network is unreachable",
            "no route to host",
            r"client\.timeout",
            "request canceled while waiting",
            r"\beof\b",
            r"registry ?(?:is )?unavailable",
            "goaway",
            "stream error",
            "malformed http",
            r"\b5\d\d (?:internal|bad|service|gateway|not implemented|insufficient|unknown)",
            r"\bstatus(?: code)?\b\D{0,40}\b5\d\d\b",
        ),
    ),
    (
        errors.UnauthorizedError,
        (
            "unauthorized",
            r"\b401\b",
            "authorization failed",
            "authentication required",
            "no basic auth credentials",
            "incorrect username",
            "invalid (?:username|credentials|token)",
            "token has expired",
            # Docker Hub's and containerd's words for "private, or missing": only credentials tell which.
            "may require (?:authorization|'docker login')",
            # Nobody was denied anything yet: there were no credentials.
            r"anonymous token\b.*\b403\b",
        ),
    ),
    (errors.DeniedError, (r"\b403\b", "forbidden", r"\bdenied\b")),
    (errors.TimedOutError, ("deadline exceeded", "context canceled", "no progress", "timed out")),
    (
        # In the runtime's own store, as after a race with its garbage collection: the image may well exist.
        errors.PullFailedError,
        (
            r"snapshot\b.*\bdoes not exist",
            r"\blease\b.*\bnot found",
            r"content digest\b.*\bnot found",
            r"(?:executable file|namespace)\b.*\bnot found",
        ),
    ),
    (
        errors.ImageNotFoundError,
        (
            "not found",
            "(?:manifest|name|blob)[ _]unknown",
            r"\b404\b",
            "repository does not exist",
            "no such image",
        ),
    ),
)
_PATTERNS: Final = tuple((re.compile("|".join(found), re.DOTALL), kind) for kind, found in _CAUSES)
_QUOTED_NAME: Final = re.compile(r'"[^"\s]*[:@][^"\s]*"')
_SEARCHED: Final = 8192
"""Characters at each end of a text: bounds what a hostile registry can make us search."""


def classify(code: str, text: str) -> Kind:
    """The class of a failed pull. *code* is the name of a gRPC status."""
    lower = text.lower() if len(text) <= 2 * _SEARCHED else f"{text[:_SEARCHED]} {text[-_SEARCHED:]}".lower()
    return _cause(_without_names(lower)) or _PULL_BY_CODE.get(code, errors.PullFailedError)


def classify_call(method: str, code: str, text: str) -> Kind:
    """The class of any failed call: pulls by their text, everything else by its code."""
    if method == "PullImage":
        return classify(code, text)
    return _BY_CODE.get(code, errors.CallFailedError)


def _without_names(text: str) -> str:
    """*text* less what was asked for, which may be named like a failure (docker.io/x509/unauthorized:v1)."""
    plain = _QUOTED_NAME.sub(" ", text.replace('\\"', '"').replace("i/o timeout", "io timeout"))
    return " ".join(word for word in plain.split() if "/" not in word)


def _cause(text: str) -> Kind | None:
    return next((kind for pattern, kind in _PATTERNS if pattern.search(text)), None)
