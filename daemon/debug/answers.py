"""Answers in the forms that the debug server gives, each with the headers that every answer carries."""

from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from daemon.debug import guards


def as_text(text: str, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Response:
    """An answer for people."""
    return Response(status=status, text=text, headers={**guards.HEADERS, **headers})


def as_json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """An answer for programs, indented for the people who look over their shoulder."""
    body = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n"
    return Response(status=status, body=body, content_type="application/json", headers=guards.HEADERS)


def refused(status: HTTPStatus, message: str, **headers: str) -> Response:
    """An answer that says why not."""
    return as_text(f"{message}\n", status, **headers)


def wants_json(request: BaseRequest) -> bool:
    """Tell whether ``?output=json`` or the Accept header asks for JSON."""
    chosen = request.query.get("output")
    if chosen is not None:
        return chosen == "json"
    return "application/json" in request.headers.get("Accept", "")
