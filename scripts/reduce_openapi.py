"""Cut Discord's OpenAPI document down to the calls the playground answers.

    python scripts/reduce_openapi.py openapi.json tests/data/discord_openapi_subset.json

The full document is ``specs/openapi.json`` of https://github.com/discord/discord-api-spec. What is
left holds the same paths and component schemas, without prose, and is small enough to keep beside
the tests. It knows the playground's route table and the document's shape, nothing else.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bot.playground.rest.app import ROUTES

# Words for people; a validator has no use for them.
PROSE = {"description", "title", "example", "examples", "externalDocs", "deprecated", "format"}
ALWAYS = ("ErrorResponse", "RatelimitedResponse")
PREFIX = "#/components/schemas/"


def strip(schema: Any, *, names: bool = False) -> Any:
    """Return a schema without prose; ``names`` says that the keys are property names to keep."""
    if isinstance(schema, list):
        return [strip(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: strip(value, names=key in ("properties", "patternProperties") and not names)
        for key, value in schema.items()
        if names or not (key in PROSE or key.startswith("x-"))
    }


def references(schema: Any) -> set[str]:
    """Return the names of the component schemas a schema points at."""
    if isinstance(schema, list):
        return {name for item in schema for name in references(item)}
    if not isinstance(schema, dict):
        return set()
    found = {name for value in schema.values() for name in references(value)}
    target = schema.get("$ref")
    if isinstance(target, str) and target.startswith(PREFIX):
        found.add(target.removeprefix(PREFIX))
    return found


def reduce_operation(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON body and the successful JSON replies of an operation."""
    kept: dict[str, Any] = {"responses": {}}
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        kept["body"] = strip(body["schema"])
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            content = response.get("content", {}).get("application/json")
            kept["responses"][status] = strip(content["schema"]) if content else None
    return kept


def reduce_document(document: dict[str, Any]) -> dict[str, Any]:
    """Return the subset: info, paths by method, and every component schema they lead to."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        operation = document["paths"][route.template][route.method.lower()]
        paths.setdefault(route.template, {})[route.method] = reduce_operation(operation)
    schemas: dict[str, Any] = {}
    waiting = references(paths) | set(ALWAYS)
    while waiting:
        name = waiting.pop()
        schemas[name] = strip(document["components"]["schemas"][name])
        waiting |= references(schemas[name]) - schemas.keys()
    return {
        "info": {"title": document["info"]["title"], "license": document["info"]["license"]},
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def main() -> None:
    """Read one file, write the other."""
    parser = argparse.ArgumentParser(description="Cut Discord's OpenAPI document to size.")
    parser.add_argument("source", type=Path, help="the full openapi.json")
    parser.add_argument("target", type=Path, help="where to write the subset")
    arguments = parser.parse_args()
    document = json.loads(arguments.source.read_text(encoding="utf-8"))
    subset = json.dumps(reduce_document(document), separators=(",", ":"), ensure_ascii=False)
    arguments.target.write_text(subset + "\n", encoding="utf-8")
    print(f"{arguments.target}: {len(subset):,} characters")


if __name__ == "__main__":
    main()
