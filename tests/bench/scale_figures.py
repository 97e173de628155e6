"""What a run with many jobs on many nodes has cost, as lines of a table."""

from collections.abc import Sequence
from typing import Any

from tests.bench.figures import Figure


def figures_of(found: dict[str, Any]) -> Sequence[Figure]:
    """The lines of one size; those of 10 jobs on 500 nodes have limits."""
    bound = (found["jobs"], found["nodes"]) == (10, 500)
    seconds, cpu, writes = found["seconds"], found["controller_cpu_seconds"], found["writes"]
    after, before = found["rest_after"], found["rest_before"]
    busy = sum(count for key, count in found["writes_by_kind"].items() if key.endswith((" 504", " 429")))
    return (
        Figure("all done", f"{seconds} s", *_limit("<= 40 s", seconds <= 40, bound)),
        Figure(
            "CPU of the controller",
            f"{cpu} s, {1000 * found['controller_ms_per_pair']:.0f} us a job and node",
            *_limit("<= 10 s", cpu <= 10, bound),
        ),
        Figure(
            "API writes",
            f"{writes}, {busy} of them not answered in time",
            *_limit("<= 2500", writes <= 2500, bound),
        ),
        Figure("CPU of the API server", f"{found['apiserver_cpu_seconds']} s"),
        Figure("controller's peak RSS", f"{found['peak_mib']} MiB"),
        Figure(
            "controller at rest, before and after",
            f"{before['percent_of_a_core']} and {after['percent_of_a_core']} % of a core, "
            f"RSS {before['rss_mib']} and {after['rss_mib']} MiB",
            "< 1 %",
            after["percent_of_a_core"] < 1,
        ),
        Figure("ended", f"{found['succeeded']} well, {found['failed']} not"),
    )


def _limit(words: str, held: bool, bound: bool) -> tuple[str, bool | None]:
    return (words, held) if bound else ("", None)


def compared(found: Sequence[dict[str, Any]]) -> Sequence[Figure]:
    """How the cost of a job on a node grows with the number of nodes."""
    one, other = (each["controller_ms_per_pair"] for each in found)
    nodes = f"{found[0]['nodes']} to {found[1]['nodes']} nodes"
    value = f"{1000 * one:.0f} to {1000 * other:.0f} us: {other / one - 1:+.0%}"
    return [Figure(f"a job and node, {nodes}", value, "<= +20 %", other <= 1.2 * one)]
