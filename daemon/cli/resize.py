"""``kubectl inplaced resize``: asks pods for other CPU and memory, and shows how they get it."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TextIO

from daemon import names
from daemon.cli.cluster import Cluster
from daemon.cli.drawing import Drawing
from daemon.cli.errors import NotFoundError, TimedOutError
from daemon.cli.output import Colour, Form, Paint, clean, document, is_terminal
from daemon.cli.pod_targets import PodTarget
from daemon.cli.reporting import AWAY, Lines, Reporter
from daemon.cli.resize_words import (
    Sight,
    Wanted,
    Word,
    end_line,
    first_sight,
    progress_line,
    seen,
    went,
    wish_for,
)
from daemon.cli.usage import Exit
from daemon.debug.views import View
from daemon.kube.patches import merge_patch
from daemon.kube.resources import WHOLE_PODS
from daemon.kube.selections import Selection, only
from daemon.objects.local_pods import LocalPod

_DOCUMENTS: Final = ("json", "yaml")
_COLOURS: Final[dict[Word, Colour]] = {"ok": "green", "failed": "red", "pending": "yellow"}
_WIDTH: Final = 8
_ROWS: Final = 20
"""Pods that are drawn at most; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked on the command line."""

    target: PodTarget
    namespace: str
    wanted: Wanted
    wait: bool = True
    timeout: float = math.inf
    form: Form = "text"


class PodResult(View, frozen=True, kw_only=True):
    """What became of one pod."""

    namespace: str
    name: str
    node: str
    outcome: str
    """A reason of the condition ResourcesInSync; empty while no agent has answered."""
    message: str
    seconds: float


class ResizeResult(View, frozen=True, kw_only=True):
    """The final document."""

    pods: tuple[PodResult, ...]


def resize(cluster: Cluster, asked: Asked) -> Exit:
    """Ask, and wait if told to. Raises CliError."""
    pods = _chosen(cluster, asked)
    wishes = [(pod, wish_for(pod, asked.wanted)) for pod in pods]  # all are right, or none is asked
    tracked = Tracked(asked.form, time.monotonic())
    for pod, text in wishes:
        tracked.sights.append(_asked(cluster, pod, text))
    if not asked.wait:
        tracked.print_asked()
        return Exit.FAILED if any(each.gone for each in tracked.sights) else Exit.DONE
    code = Exit.DONE
    try:
        tracked.follow(cluster, _selection(asked), asked.timeout)
    except TimedOutError:
        code = Exit.TIMED_OUT
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    tracked.print_end(code)
    failed = any(not each.succeeded for each in tracked.sights)
    return Exit.FAILED if code is Exit.DONE and failed else code


def _selection(asked: Asked) -> Selection:
    if asked.target.pod:
        return only(asked.target.pod, asked.namespace)
    assert asked.target.selector is not None
    return Selection(namespace=asked.namespace, labels=asked.target.selector)


def _chosen(cluster: Cluster, asked: Asked) -> Sequence[LocalPod]:
    found = [
        each
        for each in cluster.objects(WHOLE_PODS, _selection(asked))
        if each.metadata.deletion_timestamp is None and each.status.phase not in {"Succeeded", "Failed"}
    ]
    if not found:
        raise NotFoundError(f"there is no running pod {asked.target} in namespace {asked.namespace}")
    return sorted(found, key=lambda pod: pod.metadata.key)


def _asked(cluster: Cluster, pod: LocalPod, text: str) -> Sight:
    """Ask one pod. One that has just gone is no reason not to ask the others."""
    metadata = {"uid": pod.metadata.uid, "annotations": {names.RESOURCES_ANNOTATION: text}}
    sight = first_sight(pod, text)
    try:
        cluster.change(WHOLE_PODS, pod.metadata.key, merge_patch({"metadata": metadata}))
    except NotFoundError:
        return went(sight, "it was removed before it could be asked")
    return sight


class LineReporter(Lines):
    """Writes a line for each change of what a pod waits for."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._last: dict[str, str] = {}

    def show(self, sights: Sequence[Sight], *, away: bool = False) -> None:
        """Write what is new."""
        now = {each.key.name: progress_line(each) for each in sights if not each.ended}
        fresh = [line for name, line in now.items() if self._last.get(name) != line]
        self._last.update(now)
        self._write([*self._absence(away=away), *fresh])


class LiveReporter(Drawing):
    """Draws a row for each pod that is still waited for."""

    def show(self, sights: Sequence[Sight], *, away: bool = False) -> None:
        """Draw anew."""
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        left = [each for each in sights if not each.ended]
        grid = Table.grid(padding=(0, 1, 0, 0))
        for each in left[:_ROWS]:
            said = Text(clean(each.message), style="dim", no_wrap=True, overflow="ellipsis")
            grid.add_row(
                Spinner("dots"), Text(each.key.name, style="bold"), Text(each.outcome, style="yellow"), said
            )
        if len(left) > _ROWS:
            grid.add_row("", Text(f"and {len(left) - _ROWS} more"), "", "")
        if away:
            grid.add_row("", "", "", Text(AWAY, style="dim"))
        self._live.update(grid)


def reporter(stream: TextIO) -> Reporter[Sequence[Sight]]:
    """The one that fits *stream*."""
    return LiveReporter(stream) if is_terminal(stream) else LineReporter(stream)


@dataclass(slots=True)
class Tracked:
    """Resizes under way, and where their story is told."""

    form: Form
    started: float
    sights: list[Sight] = field(default_factory=list)

    @property
    def stream(self) -> TextIO:
        """For people; a document has stdout for itself."""
        return sys.stderr if self.form in _DOCUMENTS else sys.stdout

    def follow(self, cluster: Cluster, selection: Selection, limit: float) -> None:
        """Show the pods until nothing more is to be waited for. Raises CliError."""
        with reporter(self.stream) as report:
            for informer in cluster.watch(WHOLE_PODS, selection, limit):
                seconds = time.monotonic() - self.started
                self.sights = [seen(each, informer.get(each.key), seconds) for each in self.sights]
                report.show(self.sights, away=informer.behind > 1.0)
                if all(each.ended for each in self.sights):
                    return

    def print_asked(self) -> None:
        """Say what was asked."""
        if self.form in _DOCUMENTS:
            sys.stdout.write(document(self._result(), self.form))
            return
        for each in self.sights:
            if each.gone:
                sys.stderr.write(f"{progress_line(each)}\n")
            else:
                sys.stdout.write(f"pod/{each.key.name} asked for other resources\n")

    def print_end(self, code: Exit) -> None:
        """Say how it ended for each pod, or that it goes on."""
        paint = Paint(self.stream)
        for each in self.sights:
            word, said = end_line(each)
            self.stream.write(f"{paint(word, _COLOURS[word])}{' ' * (_WIDTH - len(word))}{said}\n")
        if self.form in _DOCUMENTS:
            sys.stdout.write(document(self._result(), self.form))
        left = next((each for each in self.sights if not each.ended), None)
        if code is not Exit.DONE and left is not None:
            why = "waited too long" if code is Exit.TIMED_OUT else "interrupted"
            command = f"kubectl {names.PROGRAM} why pod/{left.key.name}"
            sys.stderr.write(
                f"{why}; the resize goes on in the cluster: '{command}' tells what it waits for\n"
            )

    def _result(self) -> ResizeResult:
        return ResizeResult(
            pods=tuple(
                PodResult(
                    namespace=each.key.namespace,
                    name=each.key.name,
                    node=each.node,
                    outcome=each.outcome,
                    message=each.message,
                    seconds=round(each.seconds, 3),
                )
                for each in self.sights
            )
        )
