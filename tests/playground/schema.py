"""Validate requests and responses by Discord's own OpenAPI document (a subset, in tests/data).

    assert_valid_request("POST", "/channels/1/messages", body)
    assert_valid_response("POST", "/channels/1/messages", 200, reply)

Paths are those below ``/api/v10``. The document describes replies strictly and requests almost so:
Discord takes ids as numbers in requests, where the document says strings.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

SUBSET = Path(__file__).parents[1] / "data" / "discord_openapi_subset.json"
ID_IN_REQUESTS = {
    "anyOf": [
        {"type": "string", "pattern": "^(0|[1-9][0-9]*)$"},
        {"type": "integer", "minimum": 0},
    ]
}


def _one_of(
    validator: Any, branches: list[Any], value: object, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    """Yield what the library's ``oneOf`` yields, but collect reasons only where there is an error.

    The library collects every error of every branch before the one that fits, at each level of
    nested components: two thirds of the time of a test that posts a card.
    """
    if sum(validator.evolve(schema=branch).is_valid(value) for branch in branches) != 1:
        yield from Draft202012Validator.VALIDATORS["oneOf"](validator, branches, value, schema)


Validator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"oneOf": _one_of}
)


@functools.cache
def document() -> dict[str, Any]:
    """Return the reduced document."""
    loaded: dict[str, Any] = json.loads(SUBSET.read_text(encoding="utf-8"))
    return loaded


@functools.cache
def _schemas(*, requests: bool) -> dict[str, Any]:
    schemas: dict[str, Any] = copy.deepcopy(document()["components"]["schemas"])
    # The document says that field errors carry numbers; Discord's reference shows words.
    schemas["InnerErrors"]["properties"]["_errors"]["items"] = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": ["string", "integer"]}, "message": {"type": "string"}},
    }
    if requests:
        schemas["SnowflakeType"] = ID_IN_REQUESTS
    return schemas


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    # Fixed words before placeholders, so that @original is not taken for a message id.
    templates = sorted(document()["paths"], key=lambda template: template.count("{"))
    return [
        (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)) + "$"), template)
        for template in templates
    ]


def find_operation(method: str, path: str) -> dict[str, Any]:
    """Return the operation a call belongs to; AssertionError if Discord has no such call."""
    for pattern, template in _patterns():
        operation = document()["paths"][template].get(method.upper())
        if pattern.match(path) and operation is not None:
            found: dict[str, Any] = operation
            return found
    raise AssertionError(f"Discord has no {method} {path}")


def validate(schema: dict[str, Any], value: object, what: str, *, requests: bool = False) -> None:
    """Fail with the deepest violation of a schema."""
    if _is_valid(json.dumps(schema), json.dumps(value), requests=requests):
        return
    errors = [_deepest(error) for error in _validator(schema, requests=requests).iter_errors(value)]
    raise AssertionError(f"{what}: {errors[0].json_path}: {errors[0].message[:400]}")


def _validator(schema: dict[str, Any], *, requests: bool) -> Any:
    return Validator({**schema, "components": {"schemas": _schemas(requests=requests)}})


@functools.lru_cache(maxsize=10_000)
def _is_valid(schema: str, value: str, *, requests: bool) -> bool:
    """Both are JSON: every bot that signs in registers the same commands."""
    valid: bool = _validator(json.loads(schema), requests=requests).is_valid(json.loads(value))
    return valid


def _deepest(error: Any) -> Any:
    while error.context:
        error = max(error.context, key=lambda inner: (len(inner.absolute_path), inner.message))
    return error


def assert_valid_request(method: str, path: str, body: object) -> None:
    """Fail unless Discord's document allows the body (None for none) in this call."""
    operation = find_operation(method, path)
    if body is None:
        assert "body" not in operation, f"{method} {path} wants a body"
    else:
        assert "body" in operation, f"{method} {path} wants no body"
        validate(operation["body"], body, f"{method} {path} request", requests=True)


def assert_valid_response(method: str, path: str, status: int, body: object) -> None:
    """Fail unless the reply is one that Discord's document describes for this call."""
    what = f"{method} {path} {status}"
    if status == 429:
        validate({"$ref": "#/components/schemas/RatelimitedResponse"}, body, what)
        return
    if status >= 400:
        validate({"$ref": "#/components/schemas/ErrorResponse"}, body, what)
        return
    operation = find_operation(method, path)
    assert str(status) in operation["responses"], f"{what}: no such status"
    schema = operation["responses"][str(status)]
    if schema is None:
        assert body is None, f"{what}: a body where none belongs"
    else:
        validate(schema, body, what)
