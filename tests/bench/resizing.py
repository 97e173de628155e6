"""How fast resizes are on a real kubelet: run it as a module inside the test bed's namespaces.

A patch of the annotation is timed beside a patch of ``pods/resize`` by hand, in turns, on pods of their own.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from daemon import names
from tests.testbed.resizing import (
    PODS,
    ResizingNode,
    amounts,
    condition,
    container,
    pod,
    reads,
    resizing_node,
)

REST: Final = 1.5
"""Seconds between two measurements, so that the kubelet has nothing left to do for the last one."""
WRITES: Final = ("pods/resize", "pods/status", "events")
Document = Mapping[str, Any]


@dataclass(slots=True)
class Table:
    """The lines that are printed in the end."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, value: str) -> None:
        """Add one, and show it at once."""
        self.rows.append((name, value))
        print(f"  {name:<58} {value}", flush=True)


def asked(requests: Document, limits: Document, **more: object) -> dict[str, object]:
    """A wish for ``app``."""
    return {"containers": {"app": {"requests": requests, "limits": limits}}, **more}


def of_app(node: ResizingNode, name: str, **more: Any) -> dict[str, Any]:
    """A pod of one small container."""
    given = {"requests": amounts("100m", "64Mi"), "limits": amounts("200m", "128Mi"), **more}
    return pod(name, container("app", node.image, **given))


async def writes(node: ResizingNode) -> dict[str, int]:
    """What the agent has written until now, by resource."""
    told = (await node.agent.get("/metrics")).decode().splitlines()
    found = dict.fromkeys(WRITES, 0)
    for line in told:
        if line.startswith("inplaced_api_requests_total") and (
            'verb="patch"' in line or 'verb="create"' in line
        ):
            for resource in WRITES:
                if f'resource="{resource}"' in line and 'code="2' in line:
                    found[resource] += round(float(line.rpartition(" ")[2]))
    return found


def less(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What was written between."""
    return {name: after[name] - before[name] for name in after}


async def latency(node: ResizingNode, table: Table, rounds: int) -> None:
    """From the patch to the cgroup's value: ours, and by hand."""
    await node.run(of_app(node, "ours"), of_app(node, "hand"))
    files = {name: node.cgroup(await node.get(name), "cpu", "cpu.cfs_quota_us") for name in ("ours", "hand")}
    ours, hand, told, before = [], [], [], await writes(node)
    for number in range(rounds):
        millicores = 300 + 10 * number
        limits = amounts(f"{millicores}m")
        await asyncio.sleep(REST)
        started = time.monotonic()
        await node.wish("ours", asked({}, limits))
        ours.append(await reads(files["ours"], str(millicores * 100)) - started)
        told.append(await _told_after(node, "ours", f"{millicores}m"))
        await asyncio.sleep(REST)
        body = {"spec": {"containers": [{"name": "app", "resources": {"limits": limits}}]}}
        started = time.monotonic()
        await node.call("PATCH", f"{PODS}/hand/resize", body, patch="strategic")
        hand.append(await reads(files["hand"], str(millicores * 100)) - started)
    table.add("annotation patch -> cgroup value", _shown(ours))
    table.add("patch of pods/resize by hand -> cgroup value", _shown(hand))
    table.add("kubelet's status shows it -> condition True", _shown(told))
    done = less(await writes(node), before)
    table.add("writes per resize", f"{sum(done.values()) / rounds:.2f} ({_listed(done)})")
    await node.remove("ours", "hand")


async def _told_after(node: ResizingNode, name: str, limit: str) -> float:
    """Seconds from when the kubelet shows *limit* in force until the condition says so."""
    shown = 0.0
    while True:
        seen = await node.get(name)
        statuses = seen["status"]["containerStatuses"]
        if not shown and statuses[0]["resources"]["limits"]["cpu"] == limit:
            shown = time.monotonic()
        if f"cpu limit {limit}" in condition(seen)["message"] and condition(seen)["status"] == "True":
            return time.monotonic() - (shown or time.monotonic())


def _shown(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s of {len(seconds)}"


def _listed(done: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in done.items() if count)


async def timed(work: Awaitable[object]) -> float:
    """How many seconds *work* takes."""
    started = time.monotonic()
    await work
    return time.monotonic() - started


async def scenarios(node: ResizingNode, table: Table) -> None:
    """Each thing that can become of a resize, from the patch of the annotation to its condition."""
    await _simple(node, table)
    await _restarting(node, table)
    await _infeasible(node, table)
    await _deferred(node, table)
    await _used_memory(node, table)


async def _ends(node: ResizingNode, wish: Document, reason: str, name: str = "one") -> float:
    await asyncio.sleep(REST)
    started = time.monotonic()
    await node.wish(name, wish)
    await node.until(name, _tells(json.dumps(wish), reason), pause=0.003)
    return time.monotonic() - started


def _tells(text: str, reason: str) -> Callable[[Document], bool]:
    """Whether the condition gives *reason* for that very wish."""
    from daemon.objects.resizes import digest_of

    def tells(seen: Document) -> bool:
        record = json.loads(seen["metadata"]["annotations"].get(names.RESIZE_RECORD_ANNOTATION, "{}"))
        return bool(record.get("wish") == digest_of(text) and record["reason"] == reason)

    return tells


async def _simple(node: ResizingNode, table: Table) -> None:
    given = {"requests": amounts("100m", "64Mi"), "limits": amounts("200m", "128Mi")}
    both = pod("one", *(container(name, node.image, **given) for name in ("app", "log")))
    await node.run(both)
    more = asked(amounts("150m", "96Mi"), amounts("300m", "256Mi"))
    table.add("increase", f"{await _ends(node, more, 'InSync'):.2f} s to InSync")
    fewer = asked(amounts("50m", "32Mi"), amounts("100m", "64Mi"))
    table.add("decrease", f"{await _ends(node, fewer, 'InSync'):.2f} s to InSync")
    every = {"containers": {name: {"limits": amounts("400m")} for name in ("app", "log")}}
    table.add("both containers at once", f"{await _ends(node, every, 'InSync'):.2f} s to InSync")
    await node.remove("one")


async def _restarting(node: ResizingNode, table: Table) -> None:
    await node.run(of_app(node, "one", policy=("memory",)))
    taken = await _ends(node, asked({}, amounts("", "160Mi")), "InSync")
    seen = await node.get("one")
    counts = [each["restartCount"] for each in seen["status"]["containerStatuses"]]
    planned = seen["metadata"]["annotations"][names.PLANNED_RESTARTS_ANNOTATION]
    table.add("with RestartContainer", f"{taken:.2f} s to InSync, restarts {counts}, planned {planned}")
    await node.remove("one")


async def _infeasible(node: ResizingNode, table: Table) -> None:
    await node.run(of_app(node, "one"))
    taken = await _ends(node, asked(amounts("64"), amounts("64")), "Infeasible")
    event = await timed(node.event("one", "ResizeInfeasible"))
    table.add("more than the node has", f"{taken:.3f} s to Infeasible, {taken + event:.3f} s to the event")
    taken = await _ends(node, asked(amounts("65"), amounts("65"), onInfeasible="Rollback"), "RolledBack")
    table.add("the same with onInfeasible Rollback", f"{taken:.3f} s to RolledBack")
    taken = await _ends(node, asked(amounts("300m"), amounts("200m")), "Error")
    table.add("request above the limit", f"{taken:.3f} s to Error, no call to the API server")
    await node.remove("one")


async def _deferred(node: ResizingNode, table: Table) -> None:
    await node.run(of_app(node, "one"), of_app(node, "holder"))
    await _ends(node, asked(amounts("1"), amounts("1")), "InSync", "holder")
    taken = await _ends(node, asked(amounts("1500m"), amounts("1500m")), "Deferred")
    table.add("does not fit beside others", f"{taken:.3f} s to Deferred")
    await asyncio.sleep(REST)
    started = time.monotonic()
    await node.wish("holder", asked(amounts("100m"), amounts("1")))
    await node.outcome("one", "InSync")
    table.add("then another gives room back", f"{time.monotonic() - started:.2f} s to InSync")
    await node.remove("one", "holder")


async def _used_memory(node: ResizingNode, table: Table) -> None:
    await node.run(of_app(node, "one"))
    await node.api.kubectl("exec", "one", "--", "sh", "-c", "head -c 60m /dev/zero > /dev/shm/used")
    taken = await _ends(node, asked(amounts("", "32Mi"), amounts("", "48Mi")), "UnsafeDecrease")
    table.add("memory limit below what is in use", f"{taken:.3f} s to UnsafeDecrease")
    await node.api.kubectl("exec", "one", "--", "sh", "-c", "rm /dev/shm/used")
    started = time.monotonic()
    await node.outcome("one", "InSync")
    table.add("then it is freed", f"{time.monotonic() - started:.2f} s to InSync")
    await node.remove("one")


async def crowd(node: ResizingNode, table: Table, count: int) -> None:
    """Many pods at once, with room for half of what they ask for."""
    each = 10
    names_ = [f"crowd-{number}" for number in range(count)]
    pods = [
        of_app(node, name, requests=amounts(f"{each}m", "8Mi"), limits=amounts("2", "64Mi"))
        for name in names_
    ]
    for start in range(0, count, 10):
        await node.run(*pods[start : start + 10])
    await asyncio.sleep(5.0)
    room = await node.allocatable_cpu() - count * each
    fitting = count // 2
    millicores = each + room // fitting
    before, started = await writes(node), time.monotonic()
    await asyncio.gather(*(node.wish(name, asked(amounts(f"{millicores}m"), {})) for name in names_))
    reasons = await _settled(node, {"InSync": fitting, "Deferred": count - fitting})
    table.add(
        f"{count} pods at once, room for {fitting}", f"{time.monotonic() - started:.2f} s until {reasons}"
    )
    done = less(await writes(node), before)
    table.add("writes per pod", f"{sum(done.values()) / count:.2f} ({_listed(done)})")
    waiting = [name for name in names_ if condition(await node.get(name))["reason"] == "Deferred"]
    table.add("what one that waits says", condition(await node.get(waiting[0]))["message"])
    gone = [name for name in names_ if name not in waiting][:10]
    started = time.monotonic()
    await node.remove(*gone)
    moved = 10 + (10 * each) // (millicores - each)
    await _settled(node, {"InSync": fitting - 10 + moved, "Deferred": count - fitting - moved})
    table.add(f"10 of them deleted: {moved} more move", f"{time.monotonic() - started:.2f} s")
    done = less(await writes(node), before)
    table.add("writes per pod in all", f"{sum(done.values()) / count:.2f} ({_listed(done)})")


async def _settled(node: ResizingNode, wanted: Mapping[str, int]) -> dict[str, int]:
    """Wait until so many conditions give each reason."""
    deadline = time.monotonic() + 120.0
    while True:
        found: dict[str, int] = {}
        for each in (await node.call("GET", PODS))["items"]:
            reason = condition(each)["reason"]
            found[reason] = found.get(reason, 0) + 1
        if all(found.get(reason, 0) == count for reason, count in wanted.items()):
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found}, not {dict(wanted)}")
        await asyncio.sleep(0.05)


async def measure(rounds: int, count: int) -> None:
    """Measure everything on one node."""
    table = Table()
    async with resizing_node(memory_margin_mib="4") as node:
        version = (await node.call("GET", "/version"))["gitVersion"]
        print(f"Kubernetes {version}, containerd {node.cluster.flavour}", flush=True)
        await latency(node, table, rounds)
        await scenarios(node, table)
        if count:
            await crowd(node, table, count)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the figures judge nothing."""
    parser = argparse.ArgumentParser(prog="resizing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="resizes of the latency figure")
    parser.add_argument("--pods", type=int, default=60, help="pods that are resized at once")
    options = parser.parse_args(arguments)
    asyncio.run(measure(options.rounds, options.pods))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
