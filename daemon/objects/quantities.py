"""Quantities of Kubernetes: texts such as ``500m`` and ``1Gi`` as numbers that can be compared and added.

The grammar is that of k8s.io/apimachinery/pkg/api/resource. CPU is counted in thousandths of a core and
memory in bytes; fractions of those are rounded up, as the kubelet does.
"""

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

CPU: Final = "cpu"
MEMORY: Final = "memory"
RESIZABLE: Final = (CPU, MEMORY)
"""The only resources that a running container's can change."""
ALLOWED: Final = "a quantity such as 500m, 2, 512Mi or 1.5Gi"
_LONGEST: Final = 64
"""Characters: no amount of anything needs more, and longer texts take time to read."""
_EXPONENTS: Final = range(-18, 31)
"""Powers of ten that are read; the API server caps what is greater."""
_FORM: Final = re.compile(
    r"([+-]?)(\d+\.?\d*|\.\d+)(?:(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?\d+))?", re.ASCII
)
_SUFFIXES: Final = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("", "k", "M", "G", "T", "P", "E"))},
    **{
        f"{suffix}i": Fraction(1024**power)
        for power, suffix in enumerate(("", "K", "M", "G", "T", "P", "E"))
        if suffix
    },
}
_DECIMAL: Final = ("E", "P", "T", "G", "M", "k", "", "m", "u", "n")
_BINARY: Final = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki")


class QuantityError(ValueError):
    """The text is no quantity. The message says what it is and what is allowed."""

    def __init__(self, text: str) -> None:
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        super().__init__(f"{short!r} is no quantity; allowed: {ALLOWED}")


@lru_cache(maxsize=4096)
def parse(text: str) -> Fraction:
    """The number that *text* stands for, in units. Raises QuantityError."""
    found = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise QuantityError(text)
    sign, digits, suffix, exponent = found.groups()
    power = int(exponent or 0)
    if power not in _EXPONENTS:
        raise QuantityError(text)
    number = Fraction(digits.rstrip(".")) * _SUFFIXES[suffix or ""] * Fraction(10) ** power
    return -number if sign == "-" else number


@lru_cache(maxsize=4096)
def milli(text: str) -> int:
    """*text* in thousandths, rounded up: millicores of a CPU quantity. Raises QuantityError."""
    return math.ceil(parse(text) * 1000)


@lru_cache(maxsize=4096)
def whole(text: str) -> int:
    """*text* in units, rounded up: bytes of a memory quantity. Raises QuantityError."""
    return math.ceil(parse(text))


def amount(resource: str, text: str) -> int:
    """*text* in what *resource* is counted in: millicores, or units such as bytes. Raises QuantityError."""
    return milli(text) if resource == CPU else whole(text)


def cpu(millicores: int) -> str:
    """The quantity of so many thousandths of a core, as Kubernetes writes it."""
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def memory(count: int) -> str:
    """The quantity of so many bytes, as Kubernetes writes it."""
    suffix = next((each for each in _BINARY if count and count % _SUFFIXES[each] == 0), "")
    return f"{count // int(_SUFFIXES[suffix])}{suffix}"


def written(resource: str, count: int) -> str:
    """The quantity of *count* millicores or bytes."""
    return cpu(count) if resource == CPU else memory(count)


def readable(resource: str, count: int) -> str:
    """*count* millicores or bytes for a person: memory in at most four digits."""
    if resource == CPU or count < 1024:
        return written(resource, count)
    suffix = next(each for each in _BINARY if abs(count) >= _SUFFIXES[each])
    return f"{float(count / _SUFFIXES[suffix]):.4g}{suffix}"


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """*text* as Go writes it: 1000m is 1, 0.5 is 500m, 1024Mi is 1Gi. Raises QuantityError."""
    number = parse(text)
    found = _FORM.fullmatch(text)
    if found is not None and found[4] is not None:
        return text  # an exponent stays one
    if text.endswith("i") and abs(number) >= 1024 and number.denominator == 1:
        return memory(int(number))
    unit = next(
        (each for each in _DECIMAL if number and number % _SUFFIXES[each] == 0), "n" if number else ""
    )
    return f"{math.ceil(number / _SUFFIXES[unit])}{unit}"
