"""How the status pages show sizes, rates and durations: short, and with a steady number of digits."""

from datetime import datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Bytes in IEC units: 412.3 MiB."""
    unit, factor = _unit(count)
    return f"{count:.0f} B" if unit == "B" else f"{count / factor:.1f} {unit}"


def rate(bytes_a_second: float) -> str:
    """Bytes a second: 96.1 MiB/s."""
    return f"{size(bytes_a_second)}/s"


def fraction(done: float, total: float) -> str:
    """Bytes done of bytes in all, both in the unit of the larger: 41.2 / 412.3 MiB."""
    unit, factor = _unit(max(done, total))
    places = 0 if unit == "B" else 1
    return f"{done / factor:.{places}f} / {total / factor:.{places}f} {unit}"


def duration(seconds: float) -> str:
    """How long something took, in seconds: 0.4s, then as ``countdown``."""
    return f"{max(seconds, 0):.1f}s" if seconds < 9.95 else countdown(seconds)


def countdown(seconds: float) -> str:
    """Whole seconds, two units at most: 12s, 3m05s, 2h14m, 5d3h."""
    whole = max(round(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{minutes}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{hours}h{minutes % 60:02d}m"
    return f"{days}d{hours % 24}h"


def ago(moment: datetime, now: datetime) -> str:
    """How long before *now*, in one unit: just now, 5m ago, 3h ago, 2d ago."""
    seconds = int((now - moment).total_seconds())
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60}m ago"
    return f"{seconds // 3600}h ago" if seconds < 86400 else f"{seconds // 86400}d ago"


def _unit(count: float) -> tuple[str, float]:
    factor = 1.0
    for unit in _SIZES[:-1]:
        # 1023.95 would be shown as 1024.0.
        if abs(count) < 1023.95 * factor:
            return unit, factor
        factor *= 1024
    return _SIZES[-1], factor


def one_line(text: str) -> str:
    """*text* without line breaks and control characters: a registry's words must not steer a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in " ".join(text.split()))
