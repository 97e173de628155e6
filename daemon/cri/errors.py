"""What a call to a container runtime can raise, and what to do about it.

::

    CriError
    ├── RuntimeDownError          the runtime does not answer: retry, it is probed by itself
    ├── TimedOutError             no end before the deadline: retry, raise the timeout when it stays
    ├── UnsupportedError          the runtime lacks the call: do without it
    ├── NotFoundError             the named thing is gone: there is nothing left to do for it
    │   └── ImageNotFoundError    no such name or tag in the registry: correct the reference
    ├── AlreadyExistsError        somebody made it before: read it
    ├── UnauthorizedError         the registry wants (other) credentials: correct the pull secret
    ├── DeniedError               the credentials do not reach this image: have access granted
    ├── RateLimitedError          too many requests: retry later, or pull with an account
    ├── RegistryUnreachableError  no usable answer from the registry: retry, check network and name
    ├── TlsFailureError           the registry's certificate is not accepted: correct the trust
    ├── NoSpaceError              the disk is full: retry when space is free
    ├── WrongPlatformError        nothing for this machine in the image: build it for this platform
    ├── InvalidReferenceError     not an image reference: correct it
    ├── PullFailedError           a pull failed for a reason we do not know: retry, read the message
    └── CallFailedError           another call did: retry, read the message
"""

from typing import ClassVar, Final

from daemon.redaction import redacted

_LONGEST: Final = 2000
"""Characters of a runtime's message that are kept; what was attempted stands first, the cause last."""


def _shortened(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"


class CriError(Exception):
    """A call to the runtime failed. ``code`` names the gRPC status; ``text`` holds no credentials."""

    reason: ClassVar[str] = "CallFailed"
    """For conditions, events and metrics: a bounded set."""
    retryable: ClassVar[bool] = True
    """Whether the same call can succeed later without anybody changing the request."""
    remedy: ClassVar[str] = "See the runtime's message and its own log."

    def __init__(self, method: str, code: str, text: str) -> None:
        self.method = method
        self.code = code
        self.text = _shortened(redacted(text))
        super().__init__(method, code, self.text)

    def __str__(self) -> str:
        return f"{self.method}: {self.code}: {self.text}" if self.text else f"{self.method}: {self.code}"


class RuntimeDownError(CriError):
    """The runtime does not answer, or went away during the call: retry once it is ready again."""

    reason = "RuntimeDown"
    remedy = "Check that the container runtime runs and that its socket is the configured one."


class TimedOutError(CriError):
    """The call did not end before its deadline: retry; raise the timeout when it stays."""

    reason = "TimedOut"
    remedy = "Raise the timeout, or look for what slows the registry, the network or the disk down."


class UnsupportedError(CriError):
    """The runtime does not know the call: do not retry."""

    reason = "Unsupported"
    retryable = False
    remedy = "Use a runtime version that has this call."


class NotFoundError(CriError):
    """The named thing is gone: do not retry."""

    reason = "NotFound"
    retryable = False
    remedy = "Nothing to do: what was asked for is gone."


class ImageNotFoundError(NotFoundError):
    """The registry has no such name, tag or digest: do not retry."""

    reason = "ImageNotFound"
    remedy = "Correct the image name, tag or digest, or push it."


class AlreadyExistsError(CriError):
    """Something of that name is there already: do not retry, read it."""

    reason = "AlreadyExists"
    retryable = False
    remedy = "Use what is there, or another name."


class UnauthorizedError(CriError):
    """The registry asks for credentials, or for others: try the next ones, then do not retry."""

    reason = "Unauthorized"
    retryable = False
    remedy = "Name a pull secret valid for this registry; without one, private and missing images look alike."


class DeniedError(CriError):
    """The credentials are known but do not reach this image: try the next ones, then do not retry."""

    reason = "Denied"
    retryable = False
    remedy = "Have the account granted pull access to this repository."


class RateLimitedError(CriError):
    """The registry has had too many requests from here: retry later."""

    reason = "RateLimited"
    remedy = "Wait for the limit to pass, pull with an account, or use a mirror."


class RegistryUnreachableError(CriError):
    """No usable answer from the registry: retry."""

    reason = "RegistryUnreachable"
    remedy = "Check the registry's name, the network, proxies and the registry itself."


class TlsFailureError(CriError):
    """The registry's certificate or protocol is not accepted: do not retry."""

    reason = "TlsFailure"
    retryable = False
    remedy = (
        "Renew the certificate, trust its authority on the node, or set the registry to plain HTTP there."
    )


class NoSpaceError(CriError):
    """The disk of the images is full: retry when there is space."""

    reason = "NoSpace"
    remedy = "Free space on the file system of the images."


class WrongPlatformError(CriError):
    """The image holds nothing for this machine's platform: do not retry."""

    reason = "WrongPlatform"
    retryable = False
    remedy = "Build the image for this node's operating system and architecture."


class InvalidReferenceError(CriError):
    """The text is not an image reference: do not retry."""

    reason = "InvalidReference"
    retryable = False
    remedy = "Correct the image reference: [registry[:port]/]name[:tag][@digest], the name in lower case."


class PullFailedError(CriError):
    """A pull failed for a reason that is not known: retry."""

    reason = "PullFailed"


class CallFailedError(CriError):
    """A call other than a pull failed for a reason that is not known: retry."""
