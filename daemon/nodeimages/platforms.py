"""Which of an index's manifests a machine takes. Pure."""

import platform
from collections.abc import Iterator, Sequence

from daemon.cri.extras import Blob
from daemon.cri.manifests import Index, Platform
from daemon.nodeimages.registry_errors import NotFoundError

_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
}
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "i386": "386",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
}
_DEFAULT_VARIANTS = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
_ARM_VARIANTS = ("v8", "v7", "v6", "v5")


def choose(index: Index, wanted: Platform) -> Blob:
    """The manifest that containerd would take on *wanted*. Raises NotFoundError, listing what there is."""
    told = [(_normalised(offered), blob) for offered, blob in index.manifests if offered is not None]
    # What is told wins over what is not, as a manifest without a platform may be for any.
    fitting = [blob for candidate in _candidates(wanted) for offered, blob in told if offered == candidate]
    fitting += [blob for offered, blob in index.manifests if offered is None]
    if fitting:
        return fitting[0]
    there = sorted({str(offered) for offered, _ in told})
    raise NotFoundError(f"no image for {wanted}; there is one for {', '.join(there[:20]) or 'no platform'}")


def host_platform() -> Platform:
    """The platform of this machine."""
    machine = platform.machine()
    arch, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", arch, variant)


def _normalised(given: Platform) -> Platform:
    arch = _ALIASES.get(given.arch.lower(), given.arch.lower())
    variant = given.variant.lower() or _DEFAULT_VARIANTS.get(arch, "")
    if variant.isdigit():
        variant = f"v{variant}"
    return Platform(given.os.lower() or "linux", arch, variant)


def _candidates(wanted: Platform) -> Iterator[Platform]:
    """What runs on *wanted*, the best first: containerd's order."""
    best = _normalised(wanted)
    yield best
    if best.arch == "amd64":
        yield from (
            Platform(best.os, "amd64", variant) for variant in _lower(best.variant, ("v3", "v2", "v1"))
        )
        yield Platform(best.os, "386")
    if best.arch == "arm64":
        yield Platform(best.os, "arm64", "v8")
        yield from (Platform(best.os, "arm", variant) for variant in _ARM_VARIANTS)
    if best.arch == "arm":
        yield from (Platform(best.os, "arm", variant) for variant in _lower(best.variant, _ARM_VARIANTS))


def _lower(variant: str, variants: Sequence[str]) -> Sequence[str]:
    return [one for one in variants if one < variant]
