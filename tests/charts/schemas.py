"""Where a kind's schema and the struct that it becomes differ."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import inspect

Schema = Mapping[str, Any]
UNKNOWN = "x-kubernetes-preserve-unknown-fields"


def differences(type_: inspect.Type, schema: Schema, at: str) -> Iterator[str]:
    """Each difference as a line: the path, and what is meant there."""
    match type_:
        case inspect.StructType():
            yield from _struct(type_, schema, at)
        case inspect.DictType(value_type=inspect.AnyType()):
            yield from _is("object", schema, at)
            yield from _same(UNKNOWN, True, schema.get(UNKNOWN), at)
        case inspect.DictType():
            yield from _is("object", schema, at)
            yield from differences(type_.value_type, schema.get("additionalProperties", {}), f"{at}{{}}")
        case inspect.VarTupleType():
            yield from _is("array", schema, at)
            yield from differences(type_.item_type, schema.get("items", {}), f"{at}[]")
        case inspect.UnionType():
            yield from _union(type_, schema, at)
        case _:
            yield from _leaf(type_, schema, at)


def _struct(type_: inspect.StructType, schema: Schema, at: str) -> Iterator[str]:
    yield from _is("object", schema, at)
    fields = {field.encode_name: field for field in type_.fields if field.encode_name != "metadata"}
    properties = {name: part for name, part in schema.get("properties", {}).items() if name != "metadata"}
    yield from (f"{at}.{name}: not in the schema" for name in fields.keys() - properties.keys())
    yield from (f"{at}.{name}: not in the struct" for name in properties.keys() - fields.keys())
    for name in fields.keys() & properties.keys():
        required = name in schema.get("required", ())
        if required != fields[name].required:
            yield f"{at}.{name}: required is {required} in the schema alone"
        yield from differences(fields[name].type, properties[name], f"{at}.{name}")


def _union(type_: inspect.UnionType, schema: Schema, at: str) -> Iterator[str]:
    members = [each for each in type_.types if not isinstance(each, inspect.NoneType)]
    if len(members) == 1:
        yield from differences(members[0], schema, at)
    elif not schema.get("x-kubernetes-int-or-string"):
        yield f"{at}: no integer or string in the schema"


def _leaf(type_: inspect.Type, schema: Schema, at: str) -> Iterator[str]:
    match type_:
        case inspect.LiteralType(values=values):
            yield from _is("string", schema, at)
            yield from _same("enum", set(values), set(schema.get("enum", ())), at)
        case inspect.IntType(ge=least, le=most):
            yield from _is("integer", schema, at)
            yield from _same("minimum", least, schema.get("minimum"), at)
            yield from _same("maximum", most, schema.get("maximum"), at)
        case inspect.DateTimeType():
            yield from _is("string", schema, at)
            yield from _same("format", "date-time", schema.get("format"), at)
        case inspect.BoolType():
            yield from _is("boolean", schema, at)
        case inspect.StrType():
            yield from _is("string", schema, at)
            yield from _same("enum", None, schema.get("enum"), at)
        case _:
            yield f"{at}: {type_} is not known here"


def _is(wanted: str, schema: Schema, at: str) -> Iterator[str]:
    yield from _same("type", wanted, schema.get("type"), at)


def _same(word: str, wanted: object, found: object, at: str) -> Iterator[str]:
    if wanted != found:
        yield f"{at}: {word} is {found} in the schema, {wanted} in the struct"


def parts(schema: Schema, at: str) -> Iterator[tuple[str, Schema]]:
    """Every part of *schema* with its path."""
    yield at, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{at}.{name}")
    for word, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(word), Mapping):
            yield from parts(schema[word], f"{at}{mark}")
