"""A structural schema applied to a value, as the API server does: unknown fields, defaults, types and bounds."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sro_api.base import Manifest


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, at one place."""

    path: str
    """Of the field, as `spec.compute.env[0].name`; empty for the whole object."""
    message: str
    """Value and rule, in the API server's words."""
    line: int | None = None
    """Line of the manifest, from 1."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def child(path: str, key: str | int) -> str:
    """The path of a field or list entry below another path."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def with_defaults(value: Any, schema: Manifest) -> Any:
    """A copy of the value with the schema's defaults filled in, at every depth."""
    if isinstance(value, dict):
        filled = dict(value)
        for name, field in schema.get("properties", {}).items():
            if "default" in field and (name not in filled or (filled[name] is None and not field.get("nullable"))):
                filled[name] = copy.deepcopy(field["default"])
            if name in filled:
                filled[name] = with_defaults(filled[name], field)
        if "additionalProperties" in schema:
            filled = {key: with_defaults(item, schema["additionalProperties"]) for key, item in filled.items()}
        return filled
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(item, schema["items"]) for item in value]
    return value


def unknown_fields(value: Any, schema: Manifest, path: str = "") -> Iterator[Problem]:
    """Fields that the schema does not know, which strict field validation refuses."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, item in value.items():
            if key in properties:
                yield from unknown_fields(item, properties[key], child(path, key))
            elif "additionalProperties" in schema:
                yield from unknown_fields(item, schema["additionalProperties"], child(path, key))
            elif not schema.get("x-kubernetes-preserve-unknown-fields") and schema.get("properties") is not None:
                yield Problem(
                    path=child(path, key), message=f'strict decoding error: unknown field "{child(path, key)}"'
                )
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from unknown_fields(item, schema["items"], child(path, index))


def violations(value: Any, schema: Manifest, path: str = "") -> Iterator[Problem]:
    """Where a value breaks the schema's types and bounds."""
    if value is None and schema.get("nullable"):
        return
    mistyped = _type_problem(value, schema, path)
    if mistyped:
        yield mistyped
        return
    yield from _bound_problems(value, schema, path)
    if isinstance(value, dict):
        for name in schema.get("required", []):
            if name not in value:
                yield Problem(path=child(path, name), message="Required value")
        for key, item in value.items():
            field = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if isinstance(field, dict):
                yield from violations(item, field, child(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from violations(item, schema["items"], child(path, index))
        yield from _duplicates(value, schema, path)


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "object": (dict,), "array": (list,),
}  # fmt: skip


def _type_problem(value: Any, schema: Manifest, path: str) -> Problem | None:
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            return None
        return Problem(path=path, message=f"Invalid value: {_shown(value)}: {path} in body must be integer or string")
    expected = schema.get("type")
    if expected is None:
        return None
    integral = expected == "integer" and isinstance(value, float) and value.is_integer()
    if (
        isinstance(value, _PYTHON_TYPES[expected]) and (expected == "boolean" or not isinstance(value, bool))
    ) or integral:
        return None
    # The API server's words for a fraction differ from those for another type.
    wanted = schema.get("format", expected) if isinstance(value, float) else expected
    shown = _shown(value)
    return Problem(path=path, message=f"Invalid value: {shown}: {path} in body must be of type {wanted}: {shown}")


def _bound_problems(value: Any, schema: Manifest, path: str) -> Iterator[Problem]:
    def invalid(text: str) -> Problem:
        return Problem(path=path, message=f"Invalid value: {_shown(value)}: {path} in body {text}")

    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(_shown(option) for option in schema["enum"])
        yield Problem(path=path, message=f"Unsupported value: {_shown(value)}: supported values: {allowed}")
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield invalid(f"should be at least {schema['minLength']} chars long")
        if len(value) > schema.get("maxLength", len(value)):
            yield Problem(path=path, message=f"Too long: may not be more than {schema['maxLength']} bytes")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield invalid(f"should match '{schema['pattern']}'")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from (invalid(text) for text in _range_texts(value, schema))
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield Problem(path=path, message=f"Too many: {len(value)}: must have at most {schema['maxItems']} items")
        if len(value) < schema.get("minItems", 0):
            yield invalid(f"should have at least {schema['minItems']} items")
    elif isinstance(value, dict) and len(value) > schema.get("maxProperties", len(value)):
        yield Problem(path=path, message=f"Too many: {len(value)}: must have at most {schema['maxProperties']} items")


def _range_texts(value: float, schema: Manifest) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and schema.get("exclusiveMinimum") and value <= low:
        yield f"should be greater than {low:g}"
    elif low is not None and value < low:
        yield f"should be greater than or equal to {low:g}"
    if high is not None and schema.get("exclusiveMaximum") and value >= high:
        yield f"should be less than {high:g}"
    elif high is not None and value > high:
        yield f"should be less than or equal to {high:g}"


def _duplicates(value: list[Any], schema: Manifest, path: str) -> Iterator[Problem]:
    keys = schema.get("x-kubernetes-list-map-keys")
    if not keys:
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        identity = (
            json.dumps({key: item.get(key) for key in keys}, separators=(",", ":")) if isinstance(item, dict) else ""
        )
        if identity in seen:
            yield Problem(path=child(path, index), message=f"Duplicate value: {identity}")
        seen.add(identity)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return '"object"'
    if isinstance(value, list):
        return '"array"'
    return json.dumps(value)
