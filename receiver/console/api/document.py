"""The OpenAPI document: made of the operations, so that it says what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from receiver import __version__
from receiver.console.api.operations import ROOT, Operation, Problem
from receiver.console.api.records import Content
from receiver.console.filters import Filter
from receiver.console.roles import Role

_REF = "#/components/schemas/{name}"
_BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same request with the same key is done once; for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"},
}
#: Statuses of problems that each call may have: credentials, parameters, the store, a defect.
_ALWAYS = (401, 403, 422, 429, 500, 503)
_OF_POST = (400, 409, 413)


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of these operations."""
    types = {shape for each in operations for shape in each.answer.shapes}
    types |= {each.body for each in operations if each.body is not None} | {Problem}
    ordered = sorted(types, key=lambda each: each.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=_REF)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "sms-receiver", "version": __version__},
        "servers": [{"url": ROOT}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _BEARER},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    name = f"{operation.method.lower()}{operation.path}"
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", name).strip("_"),
        "summary": operation.endpoint.__doc__,
        "description": f"Needs the role {operation.role.word}.",
        "tags": [operation.path.split("/")[1]],
        "parameters": [*_parameters(operation)],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        body = {"schema": _ref(operation.body)}
        described["requestBody"] = {"required": True, "content": {"application/json": body}}
    return described


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for each in operation.query:
        described = each.label if each.is_for(Role.VIEWER) else f"{each.label}; not for viewers"
        yield {"name": each.name, "in": "query", "description": described, "schema": _schema(each)}
    if operation.method == "POST":
        yield _KEY


def _schema(each: Filter) -> dict[str, Any]:
    match each.kind:
        case "choice":
            return {"type": "string", "enum": list(each.choices)}
        case "number":
            return {"type": "integer", "minimum": 0 if each.name == "skip" else 1}
        case _:
            return {"type": "string", "minLength": 1}


def _responses(operation: Operation) -> dict[str, Any]:
    good = {
        "description": HTTPStatus(operation.status).phrase,
        "content": {"application/json": {"schema": _content(operation.answer)}},
    }
    statuses = set(_ALWAYS)
    if "{" in operation.path:
        statuses.add(404)
    if operation.method != "GET":
        statuses.add(409)
    if operation.method == "POST":
        statuses.update(_OF_POST)
    if operation.body is not None:
        statuses.add(415)
    told = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": _ref(Problem)}},
        }
        for status in sorted(statuses)
    }
    return {str(operation.status): good, **told}


def _content(content: Content) -> dict[str, Any]:
    refs = [_ref(shape) for shape in content.shapes]
    one = refs[0] if len(refs) == 1 else {"anyOf": refs}
    if not content.page:
        return one
    following = {
        "type": ["string", "null"],
        "description": "The URL of the next page; null: this is the last one.",
    }
    return {
        "type": "object",
        "properties": {"data": {"type": "array", "items": one}, "next": following},
        "required": ["data", "next"],
    }


def _ref(type_: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": _REF.format(name=type_.__name__)}
