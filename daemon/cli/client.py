"""The only talk with the agent: HTTP over its unix socket.

The standard library's client, not aiohttp: a command makes one request or follows one stream, and importing
aiohttp would cost more than all the rest of the command together.
"""

import getpass
import http.client
import math
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final, TypeVar

import msgspec

from daemon import __version__
from daemon.cli.errors import TimedOutError, UnreachableError, UsageError
from daemon.cli.usage import SOCKET_VARIABLE
from daemon.debug.sources import PullAnswer, PullRequest
from daemon.debug.views import JobView, NodeView
from daemon.names import PROGRAM

CALL_TIMEOUT: Final = 10.0
"""Seconds for one request."""
SILENCE: Final = 30.0
"""Seconds without an event after which the stream is opened anew: it begins with the view of that moment."""
PATIENCE: Final = 30.0
"""Seconds that a wait bears an agent that is away, so that a restart of the agent does not end it."""
RETRY_PAUSE: Final = 0.5

_AS_ROOT: Final = "Run this as root, or as the user that the agent runs as."

T = TypeVar("T")


class Agent:
    """The agent behind one unix socket."""

    def __init__(self, path: str) -> None:
        self.path = path.removeprefix("unix://")
        self._heard = -math.inf
        """When it last answered, in monotonic seconds."""

    def view(self) -> NodeView:
        """Everything now. Raises UnreachableError."""
        return self._decode(self._call("GET", "/statusz"), NodeView)

    def jobs(self) -> tuple[JobView, ...]:
        """The jobs now. Raises UnreachableError."""
        return self._decode(self._call("GET", "/debug/jobs"), tuple[JobView, ...])

    def pull(self, request: PullRequest) -> PullAnswer:
        """Ask for images. Raises UsageError with the agent's words, or UnreachableError."""
        return self._decode(self._call("POST", "/v1/pulls", msgspec.json.encode(request)), PullAnswer)

    def follow(self, until: float = math.inf) -> Iterator[NodeView | None]:
        """Yield a view after each change, the present one first, over restarts of the agent; None while away.

        Ends never. Raises TimedOutError at *until* (monotonic seconds), and UnreachableError at once when the
        agent never answered, else when it was away for PATIENCE.
        """
        while True:
            try:
                yield from self._events(until)
            except UnreachableError:
                if time.monotonic() - self._heard > PATIENCE:
                    raise
                yield None
            left = until - time.monotonic()
            if left <= 0:
                raise TimedOutError("--wait-timeout passed")
            time.sleep(min(RETRY_PAUSE, left))

    def _events(self, until: float) -> Iterator[NodeView]:
        """One stream until it breaks, is silent for too long or *until* has come."""
        timeout = max(0.01, min(CALL_TIMEOUT, until - time.monotonic()))
        with self._typed_errors(timeout), closing(_Connection(self.path, timeout)) as connection:
            connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
            # Taken now: the connection gives its socket up to a reply that ends with the connection.
            stream = connection.sock
            reply = connection.getresponse()
            self._check(reply)
            try:
                while line := _line(reply, stream, until):
                    self._heard = time.monotonic()
                    if line.startswith(b"data:"):
                        yield self._decode(line.removeprefix(b"data:"), NodeView)
            except TimeoutError:
                return

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Accept": "application/json", "User-Agent": f"{PROGRAM}/{__version__}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        with (
            self._typed_errors(CALL_TIMEOUT),
            closing(_Connection(self.path, CALL_TIMEOUT)) as connection,
        ):
            connection.request(method, path, body=body, headers=headers)
            reply = connection.getresponse()
            self._heard = time.monotonic()
            self._check(reply)
            return reply.read()

    def _check(self, reply: http.client.HTTPResponse) -> None:
        if reply.status < 300:
            return
        said = _words(reply.read(4096))
        if reply.status == http.client.BAD_REQUEST:
            raise UsageError(said or "the agent refused the request without a reason")
        if reply.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            raise UnreachableError(
                f"the agent at {self.path} does not serve user {_user()}: {said or reply.reason}. {_AS_ROOT}"
            )
        raise UnreachableError(f"the agent at {self.path} answered {reply.status} {reply.reason}: {said}")

    @contextmanager
    def _typed_errors(self, timeout: float) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise UnreachableError(f"the agent at {self.path} did not answer within {timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(self._explain(error)) from error

    def _explain(self, error: Exception) -> str:
        remedy = (
            f"Start one with '{PROGRAM} standalone --manifests DIR', name its socket with --socket or "
            f"{SOCKET_VARIABLE}, or pull without an agent: '{PROGRAM} pull --direct'."
        )
        match error:
            case FileNotFoundError():
                return f"no agent: there is no socket {self.path}. {remedy}"
            case ConnectionRefusedError():
                return f"no agent: nobody listens at {self.path}. {remedy}"
            case PermissionError():
                return f"user {_user()} may not open {self.path}. {_AS_ROOT}"
            case _:
                return f"the agent at {self.path} broke off: {str(error) or type(error).__name__}. {remedy}"

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise UnreachableError(
                f"the answer of {self.path} cannot be read ({error}): is it an agent {__version__}?"
            ) from error


class _Connection(http.client.HTTPConnection):
    """HTTP to a path instead of a port."""

    sock: socket.socket

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket; a failed one is closed."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


def _line(reply: http.client.HTTPResponse, stream: socket.socket, until: float) -> bytes:
    left = min(SILENCE, until - time.monotonic())
    if left <= 0:
        raise TimeoutError
    stream.settimeout(left)
    return reply.readline()


def _words(body: bytes) -> str:
    """What a refusal says: its JSON field ``message`` or ``error``, or its text."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode(errors="replace").strip()
    if isinstance(found, dict):
        found = found.get("message") or found.get("error") or ""
    return str(found)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "without a name"
