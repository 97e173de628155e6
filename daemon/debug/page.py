"""The status page: readable as it is, live with its script, and in need of nothing from elsewhere.

The server makes all of its HTML, also the updates: the script only carries them into the page.
"""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

from daemon.debug import images, overview, pods, work
from daemon.debug.markup import Html, element, join
from daemon.debug.views import NodeView
from daemon.names import PROGRAM

_HERE = Path(__file__)
_STYLE: Final = Html(_HERE.with_name("page.css").read_text(encoding="utf-8"))
_SCRIPT: Final = Html(_HERE.with_name("page.js").read_text(encoding="utf-8"))
_ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect x='1' y='9.5' width='14' height='4.5' rx='1.2' fill='%230e7490'/%3E"
    "%3Cpath d='M8 1v6m-2.6-2.4L8 7.2l2.6-2.6' fill='none' stroke='%230e7490' stroke-width='1.8'/%3E"
    "%3C/svg%3E"
)
_RELOAD_SECONDS: Final = "5"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hash(_SCRIPT)}",
        f"style-src {_hash(_STYLE)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy of the page: its own style and script, and nothing that came in as data."""


def document(view: NodeView) -> str:
    """The whole page."""
    reload = element("meta", http_equiv="refresh", content=_RELOAD_SECONDS)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", overview.title(view)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href=_ICON),
        element("noscript", reload),
        element("style", _STYLE),
    )
    body = element(
        "body",
        element("a", "Skip to the images", class_="skip", href="#images"),
        Html(fragment(view)),
        element("div", id="announcements", class_="unseen", role="status", aria_live="polite"),
        element("script", _SCRIPT),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def fragment(view: NodeView) -> str:
    """What changes of the page: one element that takes the place of the one before."""
    return element(
        "div",
        overview.header(view),
        element(
            "main",
            overview.summary(view),
            overview.attention(view, pods.troubles(view)),
            *pods.sections(view),
            images.section(view),
            work.jobs(view),
            work.problems(view),
        ),
        _footer(),
        id="view",
        data_title=overview.title(view),
        data_now=view.now.isoformat(),
        data_ready="ready" if view.ready else "not ready",
    )


def _footer() -> Html:
    paths = (
        "/readyz?verbose", "/metrics", "/statusz", "/flagz",
        "/debug/pods", "/debug/pulls", "/debug/jobs", "/debug/tasks", "/debug/config",
    )  # fmt: skip
    links = join(element("li", element("a", path, href=path)) for path in paths)
    return element(
        "footer",
        element("p", f"This page only shows. To ask for something: {PROGRAM} --help"),
        element("nav", element("ul", links), aria_label="Other forms of this"),
    )
