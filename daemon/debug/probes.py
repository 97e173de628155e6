"""The text of health probes, in the form that Kubernetes components answer with. Pure."""

from collections.abc import Collection, Sequence

import msgspec

from daemon.debug.sources import Check


class ProbeAnswer(msgspec.Struct, frozen=True):
    """What a probe says."""

    ok: bool
    text: str


def answer(
    name: str, checks: Sequence[Check], *, verbose: bool, exclude: Collection[str] = ()
) -> ProbeAnswer:
    """Judge *checks* for the probe *name*, without those in *exclude*; failures are told line by line."""
    ok = all(check.ok for check in checks if check.name not in exclude)
    if ok and not verbose:
        return ProbeAnswer(ok, "ok")
    lines = [_line(check, exclude) for check in checks]
    unknown = sorted(set(exclude) - {check.name for check in checks})
    if unknown:
        lines.append(f"warn: nothing to exclude is named {', '.join(unknown)}")
    lines.append(f"{name} check {'passed' if ok else 'failed'}")
    return ProbeAnswer(ok, "\n".join(lines) + "\n")


def _line(check: Check, exclude: Collection[str]) -> str:
    if check.name in exclude:
        return f"[+]{check.name} excluded: ok"
    if check.ok:
        return f"[+]{check.name} ok"
    return f"[-]{check.name} failed: {check.message or 'no reason given'}"
