"""Reads what a person typed. Refusals name the argument, its value and what is allowed; never a secret."""

import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from daemon.cli.errors import UsageError
from daemon.cli.output import FORMS, Form, clean
from daemon.objects.images import DEFAULT_TIMEOUT_SECONDS
from daemon.objects.references import InvalidReferenceError, parse

INT32: Final = 2**31 - 1
LEAST_WATCHED: Final = 10
"""Seconds that a request is kept at least when its end is waited for."""
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", re.ASCII)
_CREDENTIALS: Final = ("auths", "credHelpers", "credsStore")


def images_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The references, each once, as typed. Raises UsageError."""
    found = tuple(dict.fromkeys(texts))
    for text in found:
        try:
            parse(text)
        except InvalidReferenceError as error:
            raise UsageError(f"IMAGE {clean(text)!r}: {error}") from error
    return found


def seconds_of(option: str, text: str, *, least: int = 1) -> int:
    """Whole seconds of ``90``, ``90s``, ``5m`` or ``1h30m``. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise UsageError(
            f"{option} {text!r} is no duration; allowed: seconds as in 90, or like 90s, 5m, 1h30m"
        )
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not least <= total <= INT32:
        raise UsageError(f"{option} {text!r} is out of range; allowed: {least}s to {INT32}s")
    return total


def attempt_limit(timeout: int | None, deadline: int | None) -> int:
    """Seconds of one attempt, which never exceed those of all together. Raises UsageError."""
    if timeout is not None and deadline is not None and timeout > deadline:
        raise UsageError(
            f"--timeout {timeout}s is longer than --deadline {deadline}s; allowed: at most as long"
        )
    return timeout or min(DEFAULT_TIMEOUT_SECONDS, deadline or DEFAULT_TIMEOUT_SECONDS)


def time_to_live(ttl: int | None, *, wait: bool) -> int | None:
    """Seconds that a request is kept: who waits for its end must be able to see it."""
    return ttl if ttl is None or not wait else max(ttl, LEAST_WATCHED)


def check_direct(*, direct: bool, wait: bool, runtime: str | None, ttl: str | None) -> None:
    """Refuse what makes no sense with, or without, ``--direct``. Raises UsageError."""
    if runtime is not None and not direct:
        raise UsageError(f"--runtime {runtime!r} is for --direct; the agent has a setting of its own")
    if direct and not wait:
        raise UsageError("--no-wait is not allowed with --direct: the pulls end with this command")
    if direct and ttl is not None:
        raise UsageError(f"--ttl {ttl!r} is not allowed with --direct: nothing is kept or pinned")


def number_of(option: str, text: str, *, least: int = 0) -> int:
    """A whole number of at most 32 bits. Raises UsageError."""
    if not re.fullmatch(r"[+-]?\d{1,10}", text, re.ASCII) or not least <= int(text) <= INT32:
        raise UsageError(f"{option} {text!r} is not allowed; allowed: a whole number from {least} to {INT32}")
    return int(text)


def form_of(text: str | None) -> Form:
    """The form of ``--output``. Raises UsageError."""
    for form in FORMS:
        if text == form:
            return form
    if text is None:
        return "text"
    raise UsageError(f"--output {text!r} is not allowed; allowed: {', '.join(FORMS)}")


def credentials_of(path: Path | None) -> str:
    """The text of a docker config.json. Warns when others may read it. Raises UsageError."""
    if path is None:
        return ""
    try:
        text = path.expanduser().read_text(encoding="utf-8")
        mode = path.expanduser().stat().st_mode
    except OSError as error:
        raise UsageError(f"--creds-file {path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        # Neither as text nor as cause: both would quote the content.
        raise UsageError(f"--creds-file {path}: is not a text file in UTF-8") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        sys.stderr.write(f"warning: {path} may be read by others; chmod 600 {path}\n")
    _check_docker_config(path, text)
    return text


def _check_docker_config(path: Path, text: str) -> None:
    allowed = 'allowed: a docker config.json such as {"auths": {"registry.example.com": {"auth": "…"}}}'
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise UsageError(f"--creds-file {path}: is not JSON; {allowed}") from None
    if not isinstance(found, dict) or not any(key in found for key in _CREDENTIALS):
        raise UsageError(f"--creds-file {path}: has no 'auths'; {allowed}")
    if not isinstance(found.get("auths", {}), dict):
        raise UsageError(f"--creds-file {path}: 'auths' is not an object; {allowed}")
    if not found.get("auths"):
        sys.stderr.write(
            f"warning: {path} keeps its credentials in a helper program, which the agent cannot ask; "
            "write them into 'auths', or configure a credential provider\n"
        )
