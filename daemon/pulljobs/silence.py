"""Which nodes' agents give no sign of life, as far as jobs are concerned."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.engine.clock import Clock

_LOOK = 2.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """Where signs of life are read."""

    nodes: Callable[[], Iterable[str]]
    """The nodes that should have an agent."""
    alive: Callable[[str], bool]
    """Whether the node's agent has given a sign of life of late."""
    begun: Callable[[str], bool]
    """Whether it ever gave one."""
    lapse: float
    """Seconds without a sign after which an agent that gave one is not called alive any more."""


class Silence:
    """Tells *on_change* of the silent nodes, and since when, whenever that changes.

    A node without any sign yet has *patience* seconds, counted from when it was first looked at: its agent
    may be on its way. Nothing is read off clocks of other machines.
    """

    def __init__(
        self,
        signs: Signs,
        clock: Clock,
        on_change: Callable[[Mapping[str, datetime]], None],
        *,
        patience: float,
    ) -> None:
        self._signs = signs
        self._clock = clock
        self._on_change = on_change
        self._patience = patience
        self._waiting: dict[str, float] = {}
        self._silent: dict[str, datetime] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK)

    def look(self) -> None:
        """Find out who is silent now."""
        silent: dict[str, datetime] = {}
        waiting: dict[str, float] = {}
        for node in self._signs.nodes():
            if self._signs.alive(node):
                continue
            if self._signs.begun(node):
                silent[node] = self._silent.get(node) or self._since(self._signs.lapse)
                continue
            since = waiting[node] = self._waiting.get(node, self._clock.monotonic())
            waited = self._clock.monotonic() - since
            if waited >= self._patience:
                silent[node] = self._silent.get(node) or self._since(waited)
        self._waiting = waiting
        if silent != self._silent:
            self._silent = silent
            self._on_change(silent)

    def _since(self, seconds: float) -> datetime:
        return (self._clock.now() - timedelta(seconds=seconds)).replace(microsecond=0)
