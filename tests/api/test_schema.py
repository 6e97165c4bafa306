"""The CRD is what the models say, and what Kubernetes takes for structural."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sro_api import labels
from sro_api.schema import crd, text
from sro_api.v1alpha1 import CHANGEABLE

CRD_FILE = Path(__file__).parents[2] / "crds" / "srojobs.sro.dev.yaml"


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def schema_of_the_object() -> dict[str, Any]:
    schema: dict[str, Any] = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def test_the_committed_file_is_what_the_models_make() -> None:
    assert CRD_FILE.read_text(encoding="utf-8") == text()


def test_every_node_has_a_type() -> None:
    untyped = [
        path
        for path, node in nodes(schema_of_the_object())
        if "type" not in node and "x-kubernetes-int-or-string" not in node
    ]
    assert untyped == []


def test_every_string_list_and_map_of_the_spec_is_bounded() -> None:
    spec = schema_of_the_object()["properties"]["spec"]
    bound = {"string": "maxLength", "array": "maxItems"}
    unbounded = [
        path
        for path, node in nodes(spec)
        if node.get("type") in bound and "enum" not in node and bound[node["type"]] not in node
    ]
    maps = [path for path, node in nodes(spec) if "additionalProperties" in node and "maxProperties" not in node]
    assert unbounded + maps == []


def test_every_list_says_how_appliers_merge_it() -> None:
    lists = [node for _, node in nodes(schema_of_the_object()) if node.get("type") == "array"]
    assert lists
    assert all(node["x-kubernetes-list-type"] in ("map", "atomic") for node in lists)


def test_list_map_keys_are_required_or_have_a_default() -> None:
    for path, node in nodes(schema_of_the_object()):
        for key in node.get("x-kubernetes-list-map-keys", []):
            assert key in node["items"]["required"], path


def test_every_field_of_the_spec_is_described() -> None:
    spec = schema_of_the_object()["properties"]["spec"]
    free = ("config", "affinity", "valueFrom")
    bare = [
        path
        for path, node in nodes(spec)
        if "description" not in node and not path.endswith("[]") and not any(f".{name}." in f"{path}." for name in free)
    ]
    assert bare == []


def test_every_field_of_the_spec_is_fixed_but_for_those_that_may_change() -> None:
    free: set[str] = set()

    def look(node: dict[str, Any], path: str) -> None:
        rules = [entry["rule"] for entry in node.get("x-kubernetes-validations", ())]
        if "self == oldSelf" in rules:
            return
        if "properties" not in node:
            free.add(path)
        for name, child in node.get("properties", {}).items():
            look(child, f"{path}.{name}")
            # A rule about a change is not asked where there was nothing, or nothing is left: that is for the parent to say.
            is_optional = "default" not in child or child.get("nullable")
            if is_optional and name not in node.get("required", ()) and f"{path}.{name}" not in CHANGEABLE:
                within = path == "spec.runPolicy"
                assert within or any(f"has(self.{name}) == has(oldSelf.{name})" in rule for rule in rules), name

    look(schema_of_the_object()["properties"]["spec"], "spec")
    policy = schema_of_the_object()["properties"]["spec"]["properties"]["runPolicy"]["properties"]
    assert free == {"spec.compute.priorityClassName", *(f"spec.runPolicy.{name}" for name in policy)}


def test_printer_columns_are_those_promised() -> None:
    columns = crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if column["priority"] == 0]
    assert shown == ["Phase", "Step", "Progress", "Pass rate", "Loss", "Attempt", "Age"]


def test_the_names_are_the_documented_ones() -> None:
    names = crd()["spec"]["names"]
    assert (names["kind"], names["shortNames"], crd()["spec"]["scope"]) == (labels.KIND, ["sro"], "Namespaced")
