"""The hashes by which the kubelet and OpenKruise know what a container was made of. Pure.

Both are FNV-1a (32 bits) over the text that Go's spew library makes of JSON as bytes
(``k8s.io/kubernetes/pkg/util/hash.DeepHashObject``), not over the JSON itself.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

_OFFSET: Final = 0x811C9DC5
_PRIME: Final = 0x01000193
_ESCAPED: Final = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
"""What Go's encoder escapes beside what JSON wants escaped."""


def plain_hash(name: str, image: str) -> int:
    """The kubelet's own hash of a container, from Kubernetes 1.31 on; it restarts one whose hash changes."""
    return _deep_hash({"image": image, "name": name})


def environment_hash(variables: Mapping[str, str]) -> int:
    """OpenKruise's ``extractedEnvFromMetadataHash``: of the variables from labels and annotations."""
    entries = [
        {"name": name, "value": value} if value else {"name": name}
        for name, value in sorted(variables.items())
    ]
    return _deep_hash(entries or None)


def fingerprint(variables: Mapping[str, str]) -> str:
    """A short text that differs when any variable does; empty for none. Values cannot be told from it."""
    if not variables:
        return ""
    told = json.dumps(sorted(variables.items()), ensure_ascii=True, separators=(",", ":"))
    return blake2b(told.encode(), digest_size=8).hexdigest()


def _deep_hash(value: Any) -> int:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPED)
    shown = f"([]uint8)[{' '.join(map(str, text.encode(errors='replace')))}]"
    found = _OFFSET
    for byte in shown.encode():
        found = (found ^ byte) * _PRIME & 0xFFFFFFFF
    return found
