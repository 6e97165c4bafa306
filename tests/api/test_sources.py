"""Source URIs mean one thing everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from sro_api.sources import Roots, SourceUri, claims_of, output_path, parse_uri

ROOTS = Roots(inputs=Path("/in"), outputs=Path("/out"), claims=Path("/claims"))


@pytest.mark.parametrize(
    ("uri", "parsed"),
    [
        ("hf://owner/name", SourceUri(scheme="hf", authority="owner/name", path="")),
        ("hf://owner/name@v1.0", SourceUri(scheme="hf", authority="owner/name", path="", revision="v1.0")),
        ("file:///var/data/a.csv", SourceUri(scheme="file", authority="", path="/var/data/a.csv")),
        ("file:data/a.csv", SourceUri(scheme="file", authority="", path="data/a.csv")),
        ("pvc://claim-1/a/b.txt", SourceUri(scheme="pvc", authority="claim-1", path="a/b.txt")),
        ("package://dist-name/pkg/f.gguf", SourceUri(scheme="package", authority="dist-name", path="pkg/f.gguf")),
        ("s3://bucket/key", SourceUri(scheme="fsspec", authority="", path="s3://bucket/key")),
    ],
)
def test_each_form_is_taken_apart(uri: str, parsed: SourceUri) -> None:
    assert parse_uri(uri) == parsed


@pytest.mark.parametrize(
    "uri", ["", "SmolLM2", "hf://gpt2", "/etc/passwd", "file:", "pvc://Claim/x", "ftp://a/b", "s3://a b"]
)
def test_anything_else_is_refused_with_the_known_forms(uri: str) -> None:
    with pytest.raises(ValueError, match="is no source: use hf://"):
        parse_uri(uri)


@pytest.mark.parametrize(
    ("uri", "path"),
    [("file:runs/a", "/out/runs/a"), ("file:///abs/a", "/abs/a"), ("pvc://c/a/b", "/claims/c/a/b")],
)
def test_outputs_lie_below_their_root(uri: str, path: str) -> None:
    assert output_path(uri, ROOTS) == Path(path)


def test_an_object_store_is_no_folder() -> None:
    with pytest.raises(ValueError, match="is not on a file system"):
        output_path("s3://bucket/a", ROOTS)


def test_each_claim_is_mounted_once() -> None:
    assert claims_of(["pvc://b/x", "file:a", "pvc://a/x", "pvc://b/y"]) == ("a", "b")
