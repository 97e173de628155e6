"""What can be made to go wrong at the fake API server, and what it was asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import web

from tests.fakes.apistorage import RefusalError

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Request(NamedTuple):
    """One request that was made."""

    verb: str
    resource: str
    """With the subresource after a slash."""
    name: str
    code: int
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next *times* requests that match."""

    status: int = 0
    """Answer with this instead of doing it; 0 means do it."""
    verb: str = ""
    resource: str = ""
    name: str = ""
    """Of the object."""
    user_agent: str = ""
    dry_run: bool = False
    """Only requests of which nothing is to be kept."""
    times: int = 1
    sparing: int = 0
    """Let every so many-th request through that would be hit; 0 lets none."""
    after: int = 0
    """How many requests that would be hit are let through first."""
    met: int = 0
    """How many requests would have been hit."""
    retry_after: int | None = None
    causes: tuple[Mapping[str, str], ...] = ()
    """What the answer gives as details of the refusal."""
    reset: bool = False
    """Close the connection instead of answering; done it is, unless there is a status."""
    hang: bool = False
    """Never answer; done it is, unless there is a status."""
    message: str = "this was injected"

    def hits(self, asked: Request) -> bool:
        """Tell whether this request is the one."""
        if not self._matches(asked):
            return False
        self.met += 1
        if self.met <= self.after:
            return False
        return not (self.sparing and self.met % self.sparing == 0)

    def _matches(self, asked: Request) -> bool:
        return (
            self.times > 0
            and self.verb in {"", asked.verb}
            and self.resource in {"", asked.resource}
            and self.name in {"", asked.name}
            and (not self.dry_run or "dryRun" in asked.query)
            and self.user_agent in {"", asked.headers.get("User-Agent")}
        )


def refused(refusal: RefusalError, retry_after: int | None = None) -> web.Response:
    """The answer that says no."""
    details = {"causes": list(refusal.causes)} if refusal.causes else {}
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(refusal),
        "reason": refusal.reason,
        "code": refusal.code,
    } | ({"details": details} if details else {})
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(status, status=refusal.code, headers=headers)
