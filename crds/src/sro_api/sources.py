"""Source URIs: where models and data come from and where results go, without touching any of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sro_api.labels import CLAIM_MOUNT

Scheme = Literal["hf", "file", "pvc", "package", "fsspec"]

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_CLAIM = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PATH = r"[^\s?#]+"

HF = rf"hf://{_NAME}/{_NAME}(@[A-Za-z0-9._/-]+)?"
FILE = r"file:(///[^\s?#]+|[^\s?#/][^\s?#]*)"
PVC = rf"pvc://{_CLAIM}/{_PATH}"
PACKAGE = rf"package://{_NAME}/{_PATH}"
FSSPEC = r"(s3|s3a|gs|gcs|abfs|abfss|az|http|https|oci|r2)://[^\s?#]+"

SOURCE_PATTERN = f"^({HF}|{FILE}|{PVC}|{PACKAGE}|{FSSPEC})$"
"""Anything that can be read."""
DATA_PATTERN = f"^({FILE}|{PVC}|{PACKAGE}|{FSSPEC})$"
"""A file of rows: everything but a model repository."""
OUTPUT_PATTERN = f"^({FILE}|{PVC}|(s3|s3a|gs|gcs|abfs|abfss|az|oci|r2)://[^\\s?#]+)$"
"""Anything that can be written."""
STORAGE_PATTERN = f"^({FILE}|{PVC})$"
"""A file system: checkpoints are renamed into place, which object stores cannot do."""


@dataclass(frozen=True, kw_only=True)
class Roots:
    """The folders that relative and claim URIs start from, on the machine that reads them."""

    inputs: Path
    """Relative `file:` sources lie below it: the manifest's folder, or the image's data folder."""
    outputs: Path
    """Relative `file:` outputs lie below it: the current folder, or the pod's workspace."""
    claims: Path = Path(CLAIM_MOUNT)
    """Holds one folder per mounted claim."""


@dataclass(frozen=True, kw_only=True)
class SourceUri:
    """A parsed source URI."""

    scheme: Scheme
    authority: str
    """Claim, distribution or `owner/name`; empty for files and fsspec URLs."""
    path: str
    """Path inside it; the whole URL for fsspec."""
    revision: str | None = None


def parse_uri(uri: str) -> SourceUri:
    """Parse a source URI.

    Raises:
        ValueError: it is of no known form; the message names the value and the known forms.
    """
    if not re.fullmatch(SOURCE_PATTERN, uri):
        raise ValueError(
            f"{uri!r} is no source: use hf://owner/name@revision, file:///path, file:relative/path, pvc://claim/path, "
            "package://distribution/path, or an fsspec URL such as s3://bucket/key"
        )
    if uri.startswith("hf://"):
        repository, _, revision = uri.removeprefix("hf://").partition("@")
        return SourceUri(scheme="hf", authority=repository, path="", revision=revision or None)
    if uri.startswith("file:"):
        return SourceUri(scheme="file", authority="", path=uri.removeprefix("file:").replace("///", "/", 1))
    if uri.startswith("pvc://"):
        claim, _, path = uri.removeprefix("pvc://").partition("/")
        return SourceUri(scheme="pvc", authority=claim, path=path)
    if uri.startswith("package://"):
        distribution, _, path = uri.removeprefix("package://").partition("/")
        return SourceUri(scheme="package", authority=distribution, path=path)
    return SourceUri(scheme="fsspec", authority="", path=uri)


def output_path(uri: str, roots: Roots) -> Path:
    """Where a `file:` or `pvc://` output lies on this machine.

    Raises:
        ValueError: the URI names no file system.
    """
    parsed = parse_uri(uri)
    if parsed.scheme == "file":
        return roots.outputs / parsed.path
    if parsed.scheme == "pvc":
        return roots.claims / parsed.authority / parsed.path
    raise ValueError(f"{uri!r} is not on a file system: use file: or pvc://")


def claims_of(uris: list[str]) -> tuple[str, ...]:
    """The volume claims that a pod must mount to reach these URIs, sorted, each once."""
    parsed = (parse_uri(uri) for uri in uris if uri.startswith("pvc://"))
    return tuple(sorted({uri.authority for uri in parsed}))
