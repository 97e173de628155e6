"""Bytes of the API server into objects of ours."""

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from daemon.engine.objects import ApiObject
from daemon.kube.resources import Resource
from daemon.objects.pods import OurAnnotations, ours

T = TypeVar("T", bound=ApiObject)

Json = Mapping[str, Any]


class UndecodableError(Exception):
    """The bytes are no object of that kind."""


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """Version of a list and where its next page begins."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, frozen=True):
    """A part of a list, its objects still as bytes: one bad object must not hide the others."""

    metadata: ListMeta = ListMeta()
    items: tuple[msgspec.Raw, ...] | None = None


class Notice(msgspec.Struct, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


class MarkMeta(msgspec.Struct, frozen=True, rename="camel"):
    """What a bookmark carries."""

    resource_version: str = ""
    annotations: dict[str, str] = {}


class Mark(msgspec.Struct, frozen=True):
    """The object of a bookmark."""

    metadata: MarkMeta = MarkMeta()


class _Named(msgspec.Struct, frozen=True):
    namespace: str = ""
    name: str = ""


class _Identified(msgspec.Struct, frozen=True):
    metadata: _Named = _Named()


PAGE = msgspec.json.Decoder(Page)
NOTICE = msgspec.json.Decoder(Notice)
MARK = msgspec.json.Decoder(Mark)
_IDENTIFIED = msgspec.json.Decoder(_Identified)


def decoded(resource: Resource[T], raw: bytes | msgspec.Raw) -> T:
    """The object in *raw*, as far as it is kept. Raises UndecodableError."""
    obj = _whole(resource, raw)
    return obj if resource.kept is None else resource.kept(obj)


def _whole(resource: Resource[T], raw: bytes | msgspec.Raw) -> T:
    read = resource.read or _decoder(resource.type).decode
    try:
        try:
            return read(raw)
        except msgspec.ValidationError:
            return read(_forgiven(raw))
    except msgspec.ValidationError as error:
        raise UndecodableError(f"is no {resource.kind} that can be read: {error}") from error
    except msgspec.MsgspecError as error:
        raise UndecodableError(f"is no JSON: {error}") from error


def shown(raw: msgspec.Raw) -> str:
    """Namespace and name of an object that could not be decoded, as far as they can be told."""
    try:
        named = _IDENTIFIED.decode(raw).metadata
    except msgspec.MsgspecError:
        return "unknown"
    return f"{named.namespace}/{named.name}" if named.namespace else named.name


@functools.cache
def _decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(type_, dec_hook=_hook)


def _hook(type_: type, value: Any) -> Any:
    if type_ is OurAnnotations and isinstance(value, dict):
        return ours(value)
    raise NotImplementedError(type_)


def _forgiven(raw: bytes | msgspec.Raw) -> bytes:
    """*raw* without nulls, which Kubernetes takes for absent and Go programs write for empty lists."""
    return msgspec.json.encode(without_nulls(msgspec.json.decode(raw)))


def without_nulls(value: Any) -> Any:
    """*value* less the members that are null, at any depth."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in value]
    return value
