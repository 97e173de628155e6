"""The lines of the table that a bench prints."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: str
    limit: str = ""
    held: bool | None = None


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print the table."""
    width = max(len(figure.name) for figure in figures)
    print(f"\n{title}; limits are the project's own")
    for figure in figures:
        held = {True: "ok", False: "OVER", None: ""}[figure.held]
        print(f"  {figure.name:<{width}}  {figure.value:<44} {figure.limit:<24} {held}")
