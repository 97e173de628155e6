"""What can go wrong when a registry is asked, as one tree.

RegistryError
├── UnreachableError      no answer, or a failure on its side: try later
├── UnauthorisedError     no credential at hand is accepted: fix the credentials
├── NotFoundError         it has no such image, or not for this platform: fix the reference
├── GarbageError          it answers something that is no registry's answer: fix the registry or its address
└── UnusableProxyError    the environment wants a proxy that we cannot go through: set one of HTTP, or none
"""


class RegistryError(Exception):
    """A registry could not tell what was asked. Messages hold neither credentials nor query strings."""


class UnreachableError(RegistryError):
    """No usable answer in time. Try later."""


class UnauthorisedError(RegistryError):
    """Refused with every credential and without. Do not retry before the credentials change."""


class NotFoundError(RegistryError):
    """No such image, or not for this platform. Do not retry before the reference or the image changes."""


class UnusableProxyError(RegistryError):
    """Nothing is asked past a proxy that the environment wants. Do not retry before that changes."""


class GarbageError(RegistryError):
    """Not an answer of a registry. Do not retry soon."""
