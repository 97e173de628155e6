"""``inplaced status`` without the extra, as in the image: ``kubectl exec POD -- inplaced status``."""

import os
import sys

from daemon.cli.errors import CliError
from daemon.cli.output import clean
from daemon.cli.status import StatusOptions, status
from daemon.cli.usage import DEFAULT_SOCKET, SOCKET_VARIABLE


def bare_status() -> int:
    """Print the node once and return the exit code. Errors become one message on stderr."""
    try:
        return status(StatusOptions(socket=os.environ.get(SOCKET_VARIABLE, DEFAULT_SOCKET)))
    except CliError as error:
        sys.stderr.write(f"error: {clean(str(error))}\n")
        return error.code
