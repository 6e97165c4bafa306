"""From the pydantic models to the CustomResourceDefinition: `python -m sro_api.schema [--check] FILE`.

JSON schema as pydantic writes it is not structural as Kubernetes wants it. The walk below inlines references, turns
`anyOf null` into `nullable`, `const` into `enum`, `exclusiveMinimum: n` into the boolean form of OpenAPI 3.0, and gives every
object whose fields all have defaults their sum as its own default.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from sro_api import labels
from sro_api.base import Manifest
from sro_api.v1alpha1 import CHANGEABLE, SROJob, SROJobs

_KEPT = frozenset(
    {"type", "description", "enum", "pattern", "format", "minimum", "maximum", "minLength", "maxLength", "minItems",
     "maxItems", "maxProperties", "required", "nullable", "default"}
)  # fmt: skip
_HEADER = "# Made from crds/src/sro_api by `make generate`; edit the models, not this file.\n"


def crd() -> Manifest:
    """The CustomResourceDefinition of SROJob."""
    names = SROJobs()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.plural}.{labels.GROUP}"},
        "spec": {
            "group": labels.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": labels.KIND,
                "listKind": f"{labels.KIND}List",
                "plural": names.plural,
                "singular": labels.KIND.lower(),
                "shortNames": list(names.short_names),
                "categories": list(names.categories),
            },
            "versions": [
                {
                    "name": labels.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _printer_columns(),
                    "selectableFields": [{"jsonPath": ".status.phase"}, {"jsonPath": ".spec.method.type"}],
                    "schema": {"openAPIV3Schema": structural_schema()},
                }
            ],
        },
    }


def _printer_columns() -> list[Manifest]:
    progress = ".status.progress"
    columns = [
        ("Phase", "string", ".status.phase", 0),
        ("Step", "integer", f"{progress}.step", 0),
        ("Progress", "integer", f"{progress}.percent", 0),
        ("Pass rate", "number", f"{progress}.passRate", 0),
        ("Loss", "number", f"{progress}.loss", 0),
        ("Attempt", "integer", ".status.attempt", 0),
        ("Similarity", "number", f"{progress}.similarity", 1),
        ("Stage", "string", f"{progress}.stage", 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ]
    return [
        {"name": name, "type": kind, "jsonPath": path, "priority": priority} for name, kind, path, priority in columns
    ]


def structural_schema() -> Manifest:
    """The OpenAPI schema of the whole object."""
    raw = SROJob.model_json_schema(by_alias=True)
    schema = _structural(raw, raw.get("$defs", {}), defaults=True)
    properties = schema["properties"]
    # The API server owns these three: it wants them without constraints.
    for key in ("apiVersion", "kind"):
        properties[key] = {"type": "string"}
    properties["metadata"] = {"type": "object"}
    properties["status"] = _structural(raw["properties"]["status"], raw["$defs"], defaults=False)
    schema["required"] = ["spec"]
    _fix(properties["spec"], "spec")
    return schema


def _fix(node: Manifest, path: str) -> None:
    """Add the rules by which a part of the spec stays as it was made.

    One rule for each field that has no fields of its own, and one for each object whose fields may be absent. Compared as a whole, in
    one rule at the top, the same specs cost the API server a third of the work of every status that is written: rules about
    changes are evaluated even then, and CEL builds the list of an object's fields anew for each field that it looks up.
    """
    required = node.get("required", ())
    absent = [name for name, child in node["properties"].items() if name not in required and _may_lack(child)]
    absent = [name for name in absent if f"{path}.{name}" not in CHANGEABLE]
    if absent:
        same = " && ".join(f"has(self.{name}) == has(oldSelf.{name})" for name in absent)
        _add_rule(
            node, same, f"{', '.join(absent)}: can be neither added nor removed once the job exists; make a new job"
        )
    for name, child in node["properties"].items():
        if f"{path}.{name}" in CHANGEABLE:
            continue
        if "properties" in child:
            _fix(child, f"{path}.{name}")
        else:
            _add_rule(child, "self == oldSelf", "is fixed once the job exists; make a new job")


def _may_lack(field: Manifest) -> bool:
    return "default" not in field or bool(field.get("nullable"))


def _add_rule(node: Manifest, rule: str, message: str) -> None:
    entry = {"rule": rule, "message": message, "reason": "FieldValueForbidden"}
    node["x-kubernetes-validations"] = [*node.get("x-kubernetes-validations", ()), entry]


def _structural(node: Manifest, defs: Manifest, *, defaults: bool) -> Manifest:
    node = _inline(node, defs)
    result: Manifest = {key: value for key, value in node.items() if key in _KEPT or key.startswith("x-kubernetes-")}
    if not defaults:
        result.pop("default", None)
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    if "const" in node:
        result["enum"] = [node["const"]]
    if result.get("type") == "integer":
        result["format"] = "int64"
    if node.get("x-kubernetes-int-or-string"):
        result["anyOf"] = node["anyOf"]
    for bound, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if bound in node:
            result[inclusive], result[bound] = node[bound], True
    if result.get("type") == "array":
        result["items"] = _structural(node["items"], defs, defaults=defaults)
        result.setdefault("x-kubernetes-list-type", "atomic")
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(node["additionalProperties"], defs, defaults=defaults)
    if "properties" in node:
        result["properties"] = {
            name: _structural(child, defs, defaults=defaults) for name, child in node["properties"].items()
        }
        if defaults and "default" in node:
            result["default"] = _complete_default(result["properties"])
    return result


def _complete_default(properties: Manifest) -> Manifest:
    """A default is checked against the object's rules before the fields' own defaults are filled in: so write them out."""
    return {name: field["default"] for name, field in properties.items() if "default" in field}


def _inline(node: Manifest, defs: Manifest) -> Manifest:
    """Resolve `$ref` and `anyOf [X, null]`; keys beside them win over those they lead to."""
    if "$ref" in node:
        target = defs[node["$ref"].removeprefix("#/$defs/")]
        return _inline({**target, **{key: value for key, value in node.items() if key != "$ref"}}, defs)
    options = node.get("anyOf")
    if options and not node.get("x-kubernetes-int-or-string"):
        (option,) = [option for option in options if option.get("type") != "null"]
        beside = {key: value for key, value in node.items() if key != "anyOf"}
        merged = {**_inline(option, defs), **beside}
        if merged.get("default", ...) is None:
            # Absent and null mean the same here: the default need not be stored.
            del merged["default"]
        elif "default" in merged:
            merged["nullable"] = True
        return merged
    return node


class _PlainDumper(yaml.SafeDumper):
    """Writes repeated values out: the API server's YAML reader limits anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class names it
        return True


def text() -> str:
    """The CRD as YAML."""
    return _HEADER + yaml.dump(crd(), Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)


def main(argv: list[str] | None = None) -> int:
    """Write the CRD, or with --check say whether the file is up to date."""
    parser = argparse.ArgumentParser(prog="python -m sro_api.schema", description=main.__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.check:
        if arguments.file.read_text(encoding="utf-8") == text():
            return 0
        print(f"{arguments.file}: differs from the models; run `make generate`", file=sys.stderr)
        return 1
    arguments.file.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
