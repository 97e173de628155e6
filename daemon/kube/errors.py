"""What can go wrong between us and the API server, by what to do about it.

ApiError (an ObjectsError)      every answer that is not success
  UnreachableError              no answer came: retry, with back-off
    NoAccessError               where the server is, or who we are, cannot be told
    OverdueError                no answer came in time; a write may have been done
  UnauthorizedError   401       the token or certificate is not accepted
  ForbiddenError      403       RBAC or a policy refuses: retrying is useless
  MissingError        404       also a NotFoundError
  TakenError          409       also an AlreadyExistsError
  ChangedError        409       also a ConflictError
  ExpiredError        410       the watched version is gone: list again
  RefusedError        400, 422  the object or the patch is not valid: retrying is useless
  BusyError           429       too many requests: retry when told
  ServerError         5xx       retry
"""

from typing import ClassVar

import msgspec

from daemon.engine.objects import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    NotFoundError,
    ObjectsError,
)
from daemon.redaction import redacted


class StatusCause(msgspec.Struct, frozen=True, rename="camel"):
    """One detail of a refusal."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, frozen=True, rename="camel"):
    """What a refusal is about."""

    causes: tuple[StatusCause, ...] = ()
    retry_after_seconds: float = 0.0


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """``metav1.Status``: the body of a refusal."""

    kind: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    code: int = 0
    details: StatusDetails | None = None


class ApiError(ObjectsError):
    """The API server did not do what it was asked."""

    remedy: ClassVar[str] = "see the API server's own log"

    def __init__(
        self,
        asked: str,
        *,
        status: int = 0,
        reason: str = "",
        message: str = "",
        retry_after: float = 0.0,
    ) -> None:
        self.asked = asked
        """Verb, resource and object."""
        self.status = status
        """HTTP status, 0 when no answer came."""
        self.reason = reason
        """The machine-readable reason of the answer, in CamelCase."""
        self.message = redacted(message)
        self.retry_after = retry_after
        """Seconds to wait as told by the server, 0 when it did not say."""
        super().__init__(str(self))

    def __str__(self) -> str:
        told = ": ".join(part for part in (self.asked, self.reason, self.message) if part)
        return f"{told} ({self.remedy})"


class UnreachableError(ApiError):
    """No answer came. Retry, with back-off."""

    remedy = "is the API server up, and may this process connect to it?"


class NoAccessError(UnreachableError):
    """Nothing was sent: the kubeconfig or the service account cannot be used. Retry, since files change."""

    remedy = "name a kubeconfig that kubectl can use, or run in a pod with a service account"


class OverdueError(UnreachableError):
    """No answer came in time; a write may have been done all the same. Retry."""

    remedy = "the API server is slow, or the network between drops packets"


class UnauthorizedError(ApiError):
    """The credentials are not accepted."""

    remedy = "check that the service account exists and that its token has not expired"


class ForbiddenError(ApiError):
    """RBAC or an admission policy refuses. Do not retry soon."""

    remedy = "compare the RBAC rules and admission policies of the installed chart"

    causes: tuple[StatusCause, ...] = ()
    """What an admission plugin gives as its reason, in CamelCase."""


class MissingError(ApiError, NotFoundError):
    """The object, its namespace or its kind is not there."""

    remedy = "the object is gone, or its kind is not installed"


class TakenError(ApiError, AlreadyExistsError):
    """An object of that name is there already."""

    remedy = "use the one that is there, or another name"


class ChangedError(ApiError, ConflictError):
    """The object changed since it was read: read it again and decide anew."""

    remedy = "normal: it is read again"


class ExpiredError(ApiError):
    """What was asked for is older than the server remembers: list again."""

    remedy = "normal: the objects are listed again"


class RefusedError(ApiError, InvalidError):
    """The object or the patch is not valid. Do not retry."""

    remedy = "mend the fields that the message names"

    causes: tuple[StatusCause, ...] = ()
    """The fields that are wrong; none when the request itself was, such as a patch that does not apply."""

    @property
    def untried(self) -> bool:
        """Whether somebody's webhook only cannot be called when nothing is to be kept."""
        return "does not support dry run" in self.message


class BusyError(ApiError):
    """Too many requests. Retry when told."""

    remedy = "normal under load: it is tried again later"


class ServerError(ApiError):
    """The API server, its storage or something on the way failed. Retry."""

    remedy = "see the logs of the API server and of etcd; it is tried again"

    @property
    def by_webhook(self) -> bool:
        """Whether a webhook did not answer, and not the API server: one that was left behind never will."""
        return "failed calling webhook" in self.message


class UnreadableError(ApiError):
    """The answer is not what its kind should look like. Do not retry soon."""

    remedy = "is another version of the kind installed than this program was built for?"
