"""What a process is told from outside: the mounted run configuration and the folders that follow from it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from pydantic import ValidationError

from sro_api.run_config import RunConfig
from sro_api.sources import output_path, parse_uri
from sro_trainer.errors import ConfigurationError


def load_config(path: Path) -> RunConfig:
    """Read and check `run.json`.

    Raises:
        ConfigurationError: it cannot be read or is none; the message names the first field that is wrong.
    """
    try:
        return RunConfig.load(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config: {path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{field or path}: {first['input']!r}: {first['msg']}") from error


def output_folder(config: RunConfig) -> Path:
    """Where results are written on this machine; for an object store, where they are kept until they are uploaded."""
    uri = config.spec.output.uri
    if parse_uri(uri).scheme == "fsspec":
        return checkpoint_folder(config).parent / "output"
    return output_path(uri, config.roots)


def checkpoint_folder(config: RunConfig) -> Path:
    """Where checkpoints are written."""
    given = config.spec.output.checkpoints
    return (
        output_path(given, config.roots) if given else output_path(config.spec.output.uri, config.roots) / "checkpoints"
    )


def prepare_folders(config: RunConfig) -> None:
    """Make the folders that the run writes to, before anything slow is done.

    Raises:
        ConfigurationError: one cannot be made or written to; it would be the same in the next attempt.
    """
    for field, folder in (
        ("spec.output.uri", output_folder(config)),
        ("spec.output.checkpoints", checkpoint_folder(config)),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise ConfigurationError(f"{field}: {folder} cannot be made: {error.strerror}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(f"{field}: {folder} is not writable by user {os.geteuid()}")


def is_uploaded(config: RunConfig) -> bool:
    """Whether the results go to an object store in the end."""
    return parse_uri(config.spec.output.uri).scheme == "fsspec"


def run_fingerprint(config: RunConfig, rows: str) -> str:
    """What a checkpoint must have been made with for this run to go on from it.

    Args:
        config: of the run. How long it runs, how often it saves, where its pods run and how many they are may differ.
        rows: fingerprint of the data.
    """
    spec = config.spec.to_wire()
    plan = {
        key: value
        for key, value in spec["optimization"].items()
        if key not in ("steps", "epochs", "checkpointEverySteps", "evaluateEverySteps", "keepCheckpoints")
    }
    kept = {key: spec.get(key) for key in ("leader", "screener", "guards", "method", "deepspeed")}
    text = json.dumps([kept, plan, rows], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
