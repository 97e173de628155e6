"""Structured logs: JSON lines in production, readable on a terminal, secrets taken out either way."""

import logging
import re
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_KEYS = re.compile(
    r"pass(word|wd)?$|secret|token|^auth$|authorization|credential|docker_?config|api_?key", re.IGNORECASE
)
_SECRET_TEXT = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}"), r"\1 [redacted]"),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]*@"), r"\1[redacted]@"),
    (re.compile(r"(?i)\b((?:access_|refresh_|id)?token|password|secret)=[^\s&\"']+"), r"\1=[redacted]"),
    (
        re.compile(
            r"(?i)(\"(?:auth|password|identitytoken|registrytoken|secret)\"\s*:\s*)\"(?:[^\"\\]|\\.)*\""
        ),
        r'\1"[redacted]"',
    ),
)
REDACTED = "[redacted]"


def redact(value: Any) -> Any:
    """Take credentials out of *value*: of strings by their form, of mappings by their keys, at any depth."""
    if isinstance(value, str):
        for pattern, replacement in _SECRET_TEXT:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, bytes):
        return redact(value.decode(errors="replace"))
    if isinstance(value, Mapping):
        return {
            key: REDACTED if _SECRET_KEYS.search(str(key)) and item else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return value


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The redacting processor: keep it after everything that adds text, tracebacks included."""
    cleaned: EventDict = redact(event)
    return cleaned


def configure(*, level: str, form: Literal["auto", "json", "text"], stream: TextIO) -> None:
    """Set up logging of the process; *form* ``auto`` is text on a terminal and JSON elsewhere."""
    text = form == "text" or (form == "auto" and stream.isatty())
    structlog.configure(
        processors=[*_shared(), *(_text(stream) if text else _json())],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _json() -> list[Processor]:
    return [
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
        redact_event,
        structlog.processors.JSONRenderer(default=str),
    ]


def _text(stream: TextIO) -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        redact_event,
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=28),
    ]
