"""How things look on a terminal: sizes, ages, tables, documents, colour. Imports no rich."""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TextIO

Form = Literal["text", "wide", "json", "yaml"]
FORMS: Final = ("json", "yaml", "wide")
Colour = Literal["red", "green", "yellow", "dim", "bold"]

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_CODES: Final[dict[Colour, int]] = {"red": 31, "green": 32, "yellow": 33, "dim": 2, "bold": 1}
_COLOURING: Final = re.compile(r"\x1b\[\d+m")
_GAP: Final = 3
"""Blanks between columns, as kubectl prints them."""


def size(count: float) -> str:
    """Bytes in IEC units: ``412.3 MiB``."""
    unit, factor = _unit(count)
    return f"{count:.0f} B" if unit == "B" else f"{count / factor:.1f} {unit}"


def share(done: float, total: float) -> str:
    """Two sizes in the unit of the larger: ``41.2/412.3 MiB``."""
    unit, factor = _unit(max(done, total))
    digits = 0 if unit == "B" else 1
    return f"{done / factor:.{digits}f}/{total / factor:.{digits}f} {unit}"


def _unit(count: float) -> tuple[str, float]:
    factor = 1.0
    for unit in _UNITS[:-1]:
        # 1023.95 would be printed as 1024.0.
        if abs(count) < 1023.95 * factor:
            return unit, factor
        factor *= 1024
    return _UNITS[-1], factor


def rate(bytes_a_second: float) -> str:
    """A rate: ``84.2 MiB/s``."""
    return f"{size(bytes_a_second)}/s"


def age(seconds: float) -> str:
    """A duration as kubectl shows ages: two units while that matters, then one."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    steps: tuple[tuple[bool, str], ...] = (
        (whole < 120, f"{whole}s"),
        (minutes < 10, _pair(minutes, "m", whole % 60, "s")),
        (hours < 3, f"{minutes}m"),
        (hours < 8, _pair(hours, "h", minutes % 60, "m")),
        (hours < 48, f"{hours}h"),
        (days < 8, _pair(days, "d", hours % 24, "h")),
        (days < 730, f"{days}d"),
        (days < 2920, _pair(days // 365, "y", days % 365, "d")),
    )
    return next((text for fits, text in steps if fits), f"{days // 365}y")


def _pair(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def age_of(moment: datetime | None, now: datetime) -> str:
    """How long ago *moment* was; ``<unknown>`` without one, as kubectl says."""
    return "<unknown>" if moment is None else age((now - moment).total_seconds())


def took(seconds: float) -> str:
    """How long something took that a person waited for: tenths while they matter."""
    return f"{seconds:.1f}s" if seconds < 60 else age(seconds)


def clean(text: str) -> str:
    """*text* on one line, without control characters: what a registry answers must not steer a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in " ".join(text.split()))


class Paint:
    """Colours for one stream: on a terminal only, and not when NO_COLOR is set (no-color.org)."""

    def __init__(self, stream: TextIO) -> None:
        self.enabled = is_terminal(stream) and not os.environ.get("NO_COLOR")

    def __call__(self, text: str, colour: Colour) -> str:
        """*text* in that colour, or as it is."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.enabled and text else text


def is_terminal(stream: TextIO) -> bool:
    """Whether *stream* understands cursor movements."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, widths: Sequence[int] = ()) -> list[str]:
    """Lines of a table as kubectl prints it; *widths* are the least ones, for rows that follow later."""
    every = [headers, *rows]
    fitting = columns(every, widths)
    return [_line(row, fitting) for row in every]


def columns(rows: Sequence[Sequence[str]], least: Sequence[int] = ()) -> list[int]:
    """The width that each column needs, without the gap."""
    found = [max(_length(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [max(pair) for pair in zip(found, least, strict=True)] if least else found


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell + " " * (width + _GAP - _length(cell)) for cell, width in zip(row, widths, strict=True))
    return "".join(cells).rstrip()


def _length(cell: str) -> int:
    return len(_COLOURING.sub("", cell))


def document(value: Any, form: Form) -> str:
    """*value* as a whole JSON or YAML document, names as on the wire, newline at its end."""
    import msgspec

    if form == "json":
        return msgspec.json.format(msgspec.json.encode(value), indent=4).decode() + "\n"
    import yaml

    plain = msgspec.to_builtins(value, str_keys=True)
    text: str = yaml.dump(plain, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=120)
    return text
