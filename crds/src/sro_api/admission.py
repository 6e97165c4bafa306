"""What the API server would say to a manifest, offline: the same schema, the same CEL rules, with line numbers."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any

import cel
import yaml

from sro_api import labels
from sro_api.base import Manifest
from sro_api.fields import amount
from sro_api.schema import structural_schema
from sro_api.structural import Problem, child, unknown_fields, violations, with_defaults

_REASONS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
}
_BLOCKING = ("must be of type", "Required value", "Too long", "Too many")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def admit(manifest: Any) -> tuple[Problem, ...]:
    """Everything for which the API server would refuse this object; empty if it would take it."""
    if not isinstance(manifest, dict):
        return (Problem(path="", message="is no Kubernetes object: a mapping with apiVersion and kind is expected"),)
    problems = [*_identity_problems(manifest)]
    if problems:
        return tuple(problems)
    schema = _schema()
    problems = [*_metadata_problems(manifest), *_without_metadata(unknown_fields(manifest, schema))]
    filled = with_defaults(manifest, schema)
    structural = [*violations(filled, schema)]
    # Like the API server: no rules over a value whose types are wrong or whose required fields are missing.
    blocked = any(word in problem.message for problem in structural for word in _BLOCKING)
    rules = [] if blocked else _rule_problems(filled, schema)
    return (*problems, *structural, *rules)


def validate_manifest(text: str) -> tuple[Problem, ...]:
    """The problems of every document of a YAML text, each with its line.

    Documents of another kind than SROJob are passed over. A text without any SROJob is a problem.
    """
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        message = " ".join(str(getattr(error, "problem", None) or error).split())
        return (Problem(path="", message=f"is not YAML: {message}", line=mark.line + 1 if mark else None),)
    found: list[Problem] = []
    jobs = 0
    for node, document in zip(nodes, documents, strict=True):
        if node is None or (isinstance(document, dict) and document.get("kind") not in (None, labels.KIND)):
            continue
        jobs += 1
        found += [dataclasses.replace(problem, line=line_of(node, problem.path)) for problem in admit(document)]
    if not jobs:
        found.append(Problem(path="", message=f"holds no {labels.KIND}", line=1))
    return tuple(sorted(found, key=lambda problem: (problem.line or 0, problem.path)))


@functools.cache
def _schema() -> Manifest:
    return structural_schema()


@functools.cache
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def _identity_problems(manifest: Manifest) -> Iterator[Problem]:
    for key, expected in (("apiVersion", labels.API_VERSION), ("kind", labels.KIND)):
        if manifest.get(key) != expected:
            yield Problem(path=key, message=f"Unsupported value: {manifest.get(key)!r}: supported values: {expected!r}")


def _metadata_problems(manifest: Manifest) -> Iterator[Problem]:
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        yield Problem(path="metadata.name", message="Required value: name or generateName is required")
    elif not isinstance(metadata.get("name", ""), str):
        yield Problem(path="metadata.name", message="Invalid value: must be a string")
    elif (name := metadata.get("name")) and (len(name) > 253 or not _SUBDOMAIN.fullmatch(name)):
        yield Problem(path="metadata.name", message=f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of '
                      "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character")  # fmt: skip


def _without_metadata(problems: Iterator[Problem]) -> Iterator[Problem]:
    return (problem for problem in problems if not problem.path.startswith("metadata"))


def _rule_problems(value: Any, schema: Manifest, path: str = "") -> list[Problem]:
    if value is None:
        return []
    found: list[Problem] = []
    for rule in schema.get("x-kubernetes-validations", []):
        # A rule about changes has nothing to compare with when the object is new.
        if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
            where = path + rule.get("fieldPath", "") if path else rule.get("fieldPath", "").removeprefix(".")
            found.append(Problem(path=where, message=_rule_message(rule, value)))
    if isinstance(value, dict):
        for key, item in value.items():
            field = schema.get("properties", {}).get(key)
            if field:
                found += _rule_problems(item, field, child(path, key))
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += _rule_problems(item, schema["items"], child(path, index))
    return found


def _holds(expression: str, value: Any) -> bool:
    try:
        return bool(_program(expression).execute(_context(value)))
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError):
        # As in the API server, a rule that cannot be evaluated is not satisfied: a field it needs is missing or mistyped.
        return False


def _context(value: Any) -> cel.Context:
    """A value, and as much of the API server's library for quantities as the rules use."""
    context = cel.Context()
    context.add_variable("self", _visible(value))
    context.add_function("quantity", amount)
    context.add_function("compareTo", lambda one, other: (one > other) - (one < other))
    return context


def _visible(value: Any) -> Any:
    """As CEL in the API server sees it: a field that is null is absent."""
    if isinstance(value, dict):
        return {key: _visible(item) for key, item in value.items() if item is not None}
    return [_visible(item) for item in value] if isinstance(value, list) else value


def _rule_message(rule: Manifest, value: Any) -> str:
    shown = ""
    # `rule(shows=...)` writes this form, and the library here has no format().
    if match := re.search(r"\.format\(\[(.*)\]\)$", rule.get("messageExpression", "")):
        shown = f"{_program(match[1]).execute(_context(value))}: "
    return f"{_REASONS[rule['reason']]}: {shown}{rule['message']}"


def line_of(node: yaml.Node, path: str) -> int:
    """The line of a path, or of the deepest part of it that the text has."""
    line = int(node.start_mark.line) + 1
    for key in re.findall(r"[^.\[\]]+", path):
        if isinstance(node, yaml.MappingNode):
            entries = {entry.value: (entry, below) for entry, below in node.value}
            if key not in entries:
                break
            entry, node = entries[key]
            line = int(entry.start_mark.line) + 1
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = int(node.start_mark.line) + 1
        else:
            break
    return line
