"""The certificates that the machine trusts, read by who needs them, when they are needed.

aiohttp reads them when it is imported, for whichever process does that: 1.7 MiB and a tenth of a second, also
where the only server that is ever spoken to has an authority of its own, as the API server has.
"""

import os
import ssl
from collections.abc import MutableMapping
from functools import cache

_PLACES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables by which OpenSSL is told where they are, see SSL_CTX_set_default_verify_paths(3)."""


def import_aiohttp(environ: MutableMapping[str, str] = os.environ) -> None:
    """Import aiohttp without them. Its own default context trusts nobody then: use ``system_trust``."""
    kept = {name: environ.get(name) for name in _PLACES}
    environ.update(dict.fromkeys(_PLACES, os.devnull))
    try:
        import aiohttp  # noqa: F401 - for its effect
    finally:
        for name, value in kept.items():
            if value is None:
                del environ[name]
            else:
                environ[name] = value


@cache
def system_trust() -> ssl.SSLContext:
    """A context that trusts whom the machine trusts. Blocks on the disk the first time."""
    return ssl.create_default_context()
