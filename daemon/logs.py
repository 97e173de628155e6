"""Structured logs: JSON lines in production, readable on a terminal, secrets taken out either way.

What libraries log through ``logging`` takes the same way: it must be redacted too.
"""

import logging
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from daemon.redaction import REDACTED, is_secret, redacted

_DEEPEST = 12
"""Levels of nesting that are kept; deeper ones, and cycles, become text."""

_LARGEST = 1e300
"""From here on, and for what is no number, JSON has no words."""


def redact(value: Any, depth: int = _DEEPEST) -> Any:
    """What can be written of *value*, less credentials: known by keys and by their form, at any depth."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < _LARGEST else _text(value)
    if isinstance(value, bytes | bytearray):
        return redacted(value.decode(errors="replace"))
    if depth > 0 and isinstance(value, Mapping):
        return {
            redacted(_text(key)): REDACTED if is_secret(_text(key)) and item else redact(item, depth - 1)
            for key, item in value.items()
        }
    if depth > 0 and isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth - 1) for item in value]
    return redacted(_text(value))


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The redacting processor: keep it after everything that adds text, tracebacks included."""
    cleaned: EventDict = redact(event)
    return cleaned


def configure(*, level: str, form: Literal["auto", "json", "text"], stream: TextIO) -> None:
    """Set up logging of the process; *form* ``auto`` is text on a terminal and JSON elsewhere."""
    text = form == "text" or (form == "auto" and stream.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_shared(), *(_as_text(stream) if text else _as_json())],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    _redirect(logging.getLogger(), number)


def _redirect(root: logging.Logger, level: int) -> None:
    for handler in list(root.handlers):
        if isinstance(handler, _Redirection):
            root.removeHandler(handler)
    root.addHandler(_Redirection())
    root.setLevel(max(level, logging.WARNING))  # libraries are talkative below


class _Redirection(logging.Handler):
    """Hands what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's wrong format must not end what it only wanted to tell
            message = str(record.msg)
        logger = structlog.get_logger()
        logger.log(record.levelno, message, logger=record.name, exc_info=record.exc_info)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not end what is being logged
        return f"<{type(value).__name__} that cannot be shown>"


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _as_json() -> list[Processor]:
    return [
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
        redact_event,
        structlog.processors.JSONRenderer(),
    ]


def _as_text(stream: TextIO) -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        redact_event,
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=28),
    ]
