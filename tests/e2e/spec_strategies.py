"""SROJobs for hypothesis, drawn from the schema that the API server enforces: valid, at their bounds, and beyond them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from admission_cases import cases, changed

Manifest = dict[str, Any]
Path_ = tuple[str | int, ...]

ROOT = Path(__file__).resolve().parents[2]
_CRD = yaml.safe_load((ROOT / "crds" / "srojobs.sro.dev.yaml").read_text(encoding="utf-8"))
SPEC: Manifest = _CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
"""The schema of `spec`."""
_KEYS = ("team", "example.com/pool", "nvidia.com/gpu", "cpu", "memory", "a b", "/x", "a/b/c", "_", "A" * 64)
_WRONG: tuple[Any, ...] = (-1, 0, 10**12, 1.5, "", "x" * 5000, "a b", True, [], {}, [None], {"unknown": 1})


def _integers(schema: Manifest) -> st.SearchStrategy[Any]:
    low, high = int(schema.get("minimum", 0)), int(schema.get("maximum", 10**9))
    return st.one_of(st.sampled_from([low, min(low + 1, high), high]), st.integers(low, min(high, low + 64)))


def _numbers(schema: Manifest) -> st.SearchStrategy[Any]:
    low, high = float(schema.get("minimum", 0)), float(schema.get("maximum", 1e6))
    return st.one_of(
        st.sampled_from([low, high]),
        st.floats(low, high, allow_nan=False, allow_infinity=False).map(lambda x: round(x, 6)),
    )


def _strings(schema: Manifest) -> st.SearchStrategy[Any]:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 64)
    if pattern := schema.get("pattern"):
        drawn: st.SearchStrategy[str] = st.from_regex(str(pattern), fullmatch=True)
        return drawn.filter(
            # What YAML and JSON carry to the API server as it is, on one line.
            lambda text: shortest <= len(text) <= longest and text.isascii() and text.isprintable()
        )
    letters = st.characters(min_codepoint=32, max_codepoint=126)
    return st.text(letters, min_size=shortest, max_size=min(longest, 40))


def values(schema: Manifest) -> st.SearchStrategy[Any]:
    """What the schema's own words allow; rules across fields may still refuse it."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from([1, "500m", "2Gi", "8"])
    if schema.get("x-kubernetes-preserve-unknown-fields") and "properties" not in schema:
        return st.sampled_from([{}, {"nodeAffinity": {}}])
    kind = schema.get("type")
    if kind == "object":
        return _objects(schema)
    if kind == "array":
        least, most = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
        return st.lists(values(schema["items"]), min_size=least, max_size=max(least, most))
    if kind == "integer":
        return _integers(schema)
    if kind == "number":
        return _numbers(schema)
    return st.booleans() if kind == "boolean" else _strings(schema)


def _objects(schema: Manifest) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        inner = schema.get("additionalProperties")
        entries = values(inner) if isinstance(inner, dict) else st.just("x")
        return st.dictionaries(st.sampled_from(_KEYS), entries, max_size=2)
    required = set(schema.get("required", ()))
    needed = {name: values(part) for name, part in schema["properties"].items() if name in required}
    optional = {name: values(part) for name, part in schema["properties"].items() if name not in required}

    @st.composite
    def drawn(draw: st.DrawFn) -> Manifest:
        made = {name: draw(strategy) for name, strategy in needed.items()}
        if optional:
            for name in draw(st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True)):
                made[name] = draw(optional[name])
        return made

    return drawn()


def places(schema: Manifest, at: Path_ = ()) -> list[tuple[Path_, Manifest]]:
    """Every field below a schema, and what it may be."""
    found: list[tuple[Path_, Manifest]] = []
    for name, part in schema.get("properties", {}).items():
        found += [((*at, name), part), *places(part, (*at, name))]
    return found


_PLACES = places(SPEC)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A valid manifest of the contract's tests with one to four fields put otherwise: to values of their types, or to wrong ones."""
    start = draw(st.sampled_from(_STARTS))
    return draw(varied(start))


@st.composite
def varied(draw: st.DrawFn, manifest: Manifest) -> Manifest:
    """A manifest with one to four fields of its spec put otherwise."""
    made = copy.deepcopy(manifest)
    for _ in range(draw(st.integers(1, 4))):
        place, schema = draw(st.sampled_from(_PLACES))
        how = draw(st.sampled_from(["value", "value", "value", "value", "remove", "wrong", "unknown"]))
        _put(made["spec"], place, how, draw, schema)
    return made


def _put(spec: Manifest, place: Path_, how: str, draw: st.DrawFn, schema: Manifest) -> None:
    at: Any = spec
    for key in place[:-1]:
        if not isinstance(at, dict) or not isinstance(at.setdefault(key, {}), dict):
            return
        at = at[key]
    last = place[-1]
    if how == "remove":
        at.pop(last, None)
    elif how == "wrong":
        at[last] = draw(st.sampled_from(_WRONG))
    elif how == "unknown":
        at[f"{last}x"] = 1
    else:
        at[last] = draw(values(schema))


_STARTS = [changed(case["change"]) for case in cases("valid.yaml")]
