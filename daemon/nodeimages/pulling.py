"""One attempt at one image: every credential in turn, within one deadline."""

import asyncio
from collections.abc import Iterator

from msgspec.structs import replace

from daemon import names
from daemon.cri.errors import (
    CriError,
    DeniedError,
    ImageNotFoundError,
    RuntimeDownError,
    TimedOutError,
    UnauthorizedError,
)
from daemon.cri.runtimes import Runtime
from daemon.cri.types import Auth, Sandbox
from daemon.nodeimages.access import Access
from daemon.nodeimages.credentials import Credential
from daemon.nodeimages.plans import (
    DEADLINE,
    NO_SPACE,
    NO_SPACE_REMEDY,
    Failure,
    Wanted,
)

_FINAL = frozenset({"InvalidReference", "WrongPlatform"})
"""Only another request mends these. A missing image may be pushed before the last retry, a secret mended."""
_NEXT_CREDENTIAL = (UnauthorizedError, DeniedError, ImageNotFoundError)
"""Registries hide what one may not see behind 'not found'."""


class PullAttemptError(Exception):
    """No credential led to the image. ``failure`` says why, in words for the job's owner."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


async def pull(wanted: Wanted, runtime: Runtime, access: Access) -> str:
    """Pull the image and return its id.

    Raises PullAttemptError. A cancel ends the call in the runtime as well.
    """
    try:
        async with asyncio.timeout(wanted.timeout) as deadline:
            credentials: list[Credential | None] = [*await access.credentials(wanted), None]
            return await _pull_with(wanted, runtime, credentials, deadline)
    except TimeoutError:
        message = f"not done after {wanted.timeout:g} s"
        raise PullAttemptError(Failure("TimedOut", message, TimedOutError.remedy)) from None
    except CriError as error:
        raise PullAttemptError(failure_of(error)) from error


async def _pull_with(
    wanted: Wanted, runtime: Runtime, credentials: list[Credential | None], deadline: asyncio.Timeout
) -> str:
    told: CriError | None = None
    for credential in credentials:
        try:
            return await runtime.client.pull_image(
                wanted.ref,
                timeout=_left(deadline, wanted.timeout),
                auth=None if credential is None else _auth(credential),
                sandbox=_sandbox(wanted),
            )
        except _NEXT_CREDENTIAL as error:
            # The first refusal is the one of the best matching credential: it is what the owner can mend.
            told = told or error
    assert told is not None
    raise told


def _left(deadline: asyncio.Timeout, timeout: float) -> float:
    when = deadline.when()
    return timeout if when is None else max(when - asyncio.get_running_loop().time(), 0.001)


def _auth(credential: Credential) -> Auth:
    return Auth(
        username=credential.username,
        password=credential.password,
        identity_token=credential.identity_token,
        registry_token=credential.registry_token,
    )


def _sandbox(wanted: Wanted) -> Sandbox:
    annotations = dict(wanted.annotations) | {names.PULLED_BY_ANNOTATION: names.PROGRAM}
    return Sandbox(labels=dict(wanted.labels), annotations=annotations)


def remedy_for(reason: str) -> str:
    """What a person can do about a failed image, by the reason in its status; empty for an unknown one."""
    return _REMEDIES.get(reason, "")


def _remedies(kind: type[CriError]) -> Iterator[tuple[str, str]]:
    for child in kind.__subclasses__():
        yield from _remedies(child)
    yield kind.reason, kind.remedy


_REMEDIES = dict(_remedies(CriError)) | {
    NO_SPACE: NO_SPACE_REMEDY,
    DEADLINE: "Raise activeDeadlineSeconds, or see the last attempt's message.",
}


def failure_of(error: CriError) -> Failure:
    """The error in the planner's terms."""
    return Failure(error.reason, error.text or str(error), error.remedy, final=error.reason in _FINAL)


def failure_of_question(error: CriError) -> Failure:
    """The same for a call that only asks: a runtime that does not answer it is down, and uses up no retry."""
    failure = failure_of(error)
    if isinstance(error, TimedOutError):
        return replace(failure, reason=RuntimeDownError.reason, remedy=RuntimeDownError.remedy)
    return failure
