"""What may be asked over the unix socket: the only requests that change anything."""

import asyncio
from http import HTTPStatus

import msgspec
from aiohttp.web_exceptions import HTTPRequestEntityTooLarge
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from daemon.debug.answers import as_json, refused
from daemon.debug.sources import Asks, PullRequest, RefusedError

MAX_BODY = 1024 * 1024
"""Bytes of a request: many image names and a large docker config. Also what aiohttp reads at most."""
_BODY_TIMEOUT = 10.0
"""Seconds in which the body must have arrived."""


class Api:
    """``POST /v1/pulls``. Bodies hold secrets: they are never logged and never repeated in an answer."""

    def __init__(self, asks: Asks) -> None:
        self._asks = asks

    async def pull(self, request: BaseRequest) -> Response:
        """Make one job for each image that the request names."""
        try:
            asked = msgspec.json.decode(await _body(request), type=PullRequest)
            answer = await self._asks.pull(asked)
        except HTTPRequestEntityTooLarge:
            return refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request is larger than {MAX_BODY} bytes"
            )
        except TimeoutError:
            late = f"the request did not arrive within {_BODY_TIMEOUT:g} s"
            return refused(HTTPStatus.REQUEST_TIMEOUT, late)
        except UnicodeDecodeError:
            return refused(HTTPStatus.BAD_REQUEST, "not a pull request: the text is not UTF-8")
        except msgspec.DecodeError as error:
            return refused(HTTPStatus.BAD_REQUEST, f"not a pull request: {error}")
        except RefusedError as error:
            return refused(HTTPStatus.BAD_REQUEST, str(error))
        return as_json(answer, HTTPStatus.CREATED)


async def _body(request: BaseRequest) -> bytes:
    if (request.content_length or 0) > MAX_BODY:
        raise HTTPRequestEntityTooLarge(max_size=MAX_BODY)
    async with asyncio.timeout(_BODY_TIMEOUT):
        return await request.read()
