"""Image references of every form, and what is none."""

from collections.abc import Mapping
from typing import Final

A_DIGEST: Final = "sha256:" + "a" * 64
REFERENCE: Final = "is not an image reference"

IMAGES: Final[Mapping[str, tuple[str, str]]] = {
    "none": ("", "is empty; allowed: an image reference such as nginx:1.27"),
    "upper case": ("Nginx:1", REFERENCE),
    "upper case after a host": ("registry.example/Team/app", REFERENCE),
    "an empty tag": ("nginx:", REFERENCE),
    "a tag that begins with a dot": ("nginx:.1", REFERENCE),
    "a long tag": ("nginx:" + "t" * 129, REFERENCE),
    "a digest that is too short": ("nginx@sha256:12", REFERENCE),
    "a digest in upper case": ("nginx@sha256:" + "A" * 64, REFERENCE),
    "a digest after a colon": (f"nginx:{A_DIGEST}", REFERENCE),
    "an unknown digest": ("nginx@md5:" + "a" * 32, REFERENCE),
    "a scheme": ("https://registry.example/app", REFERENCE),
    "a space": ("nginx :1", REFERENCE),
    "a line's end": ("nginx:1\n", REFERENCE),
    "an id": ("a" * 64, "allowed: a name, not the id of an image"),
    "an underscore in a host": ("my_host.example/app", REFERENCE),
    "a host that begins with a hyphen": ("-a.example/app", REFERENCE),
    "a host alone": ("registry.example/", REFERENCE),
    "port 0": ("registry.example:0/app", "allowed: a port from 1 to 65535"),
    "port 65536": ("registry.example:65536/app", "allowed: a port from 1 to 65535"),
    "a port of six digits": ("registry.example:080808/app", REFERENCE),
    "a port in letters": ("registry.example:http/app", REFERENCE),
    "a wrong IPv6 address": ("[1::2::3]/app", "allowed: an IPv6 address in the brackets"),
    "an IPv6 address with a zone": ("[fe80::1%eth0]/app", REFERENCE),
    "an IPv4 address in brackets of another": ("[1.2.3]/app", "allowed: an IPv6 address in the brackets"),
    "a long repository": ("registry.example/" + "r" * 256, "at most 255 characters"),
    "a long repository of the default library": ("r" * 248, "at most 255 characters, library/ included"),
    "the same by its full name": ("docker.io/" + "r" * 248, "at most 255 characters, library/ included"),
    "two separators": ("a._b", REFERENCE),
    "three underscores": ("a___b", REFERENCE),
    "an empty part": ("a//b", REFERENCE),
}
"""References that are none, with what the API server says of them."""

RIGHT_IMAGES: Final = (
    "nginx",
    "nginx:1.27",
    f"nginx@{A_DIGEST}",
    f"nginx:1.27@{A_DIGEST}",
    "nginx@sha512:" + "b" * 128,
    "library/nginx",
    "my.image:1",
    "a__b/c--d/e.f",
    "localhost/app",
    "localhost:5000/app:_x",
    "registry.example:65535/team/app",
    "registry.example:00080/app",
    "REGISTRY.example/app",
    "Registry/app",
    "192.0.2.1:5000/app",
    "[::1]/app",
    "[2001:db8::1]:5000/team/app:1",
    "registry.example/" + "r" * 255,
    "r" * 247,
    "docker.io/" + "r" * 247,
    "a" * 63,
    "app:" + "t" * 128,
)
"""References of every form."""
