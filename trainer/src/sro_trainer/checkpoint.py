"""Checkpoints that are whole or absent: written aside, synced, summed, renamed into place, and only then trusted."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sro_api.base import ApiModel
from sro_trainer.distributed import World
from sro_trainer.errors import NoSpaceError
from sro_trainer.training_state import TrainingState

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STAGING_PREFIX = ".writing-"
SPARE_BYTES = 1 << 20
"""Less free space than this after a failed write means that the volume was full."""


class FileSum(ApiModel):
    """Size and checksum of one file."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: str


class Manifest(ApiModel):
    """What a checkpoint consists of and what it belongs to."""

    state: TrainingState | None = None
    fingerprint: str
    """Of the rows that the run learns from."""
    world_size: int
    """Processes that wrote it; any other number can read it."""
    files: dict[str, FileSum]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint."""

    folder: Path
    manifest: Manifest


class CheckpointDamagedError(Exception):
    """A checkpoint does not match its manifest; the message says how."""


def save_checkpoint(
    folder: Path,
    name: str,
    write: Callable[[Path], None],
    *,
    state: TrainingState | None,
    fingerprint: str,
    world: World,
    expected_bytes: int = 0,
) -> Path:
    """Write a checkpoint; every rank must call it.

    Args:
        folder: of all checkpoints, shared by the ranks.
        name: of this one.
        write: puts this rank's files below the folder that it is given.
        state: where the run is.
        fingerprint: of the run's rows.
        world: the ranks.
        expected_bytes: an estimate of all files together; a volume with less free is refused before anything is written.

    Raises:
        NoSpaceError: the volume is full, on some rank; nothing is left of the attempt. All ranks raise it together.
    """
    staging, target = folder / f"{STAGING_PREFIX}{name}", folder / name

    def begin() -> None:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        refuse_full_volume(folder, expected_bytes)

    def finish() -> None:
        _seal(staging, state=state, fingerprint=fingerprint, world_size=world.size)
        _put_in_place(staging, target)
        verify(target)

    _together(world, folder, staging, begin if world.is_main else None)
    _together(world, folder, staging, lambda: write(staging))
    _together(world, folder, staging, finish if world.is_main else None)
    return target


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file.

    Raises:
        OSError: it could not be written; safetensors' own error hides the cause in its text.
    """
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        cause = re.search(r"os error (\d+)", str(error))
        raise OSError(int(cause[1]) if cause else errno.EIO, str(error)) from error


def refuse_full_volume(folder: Path, expected_bytes: int) -> None:
    """Refuse a write that cannot fit.

    Raises:
        NoSpaceError: less than `expected_bytes` is free.
    """
    free = shutil.disk_usage(folder).free
    if free < expected_bytes:
        raise NoSpaceError(
            f"no space for a checkpoint on the volume of {folder}: it takes about {expected_bytes >> 20} MiB, {free >> 20} MiB are "
            "free; the last complete checkpoint stands"
        )


def _together(world: World, folder: Path, staging: Path, work: Callable[[], None] | None) -> None:
    """Do this rank's part; a full volume on one of them ends it on all, so that none waits for a rank that is gone."""
    refusal: NoSpaceError | None = None
    try:
        with no_space_reported(folder, staging):
            if work is not None:
                work()
    except NoSpaceError as error:
        refusal = error
    if world.any(refusal is not None):
        shutil.rmtree(staging, ignore_errors=True)
        raise refusal or NoSpaceError(f"no space left on the volume of {folder}, says another rank")


def verify(folder: Path) -> Checkpoint:
    """Check every file against the manifest.

    Raises:
        CheckpointDamagedError: the manifest cannot be read, or a file is missing, changed or too many.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise CheckpointDamagedError(f"{folder.name}: its manifest cannot be read: {type(error).__name__}") from error
    present = {str(path.relative_to(folder)): path for path in _files(folder) if path.name != MANIFEST}
    if present.keys() != manifest.files.keys():
        odd = sorted(present.keys() ^ manifest.files.keys())[0]
        raise CheckpointDamagedError(f"{folder.name}: {odd} is missing or too many")
    for name, path in present.items():
        if manifest.files[name] != _sum(path):
            raise CheckpointDamagedError(f"{folder.name}: {name} differs from its checksum")
    return Checkpoint(folder=folder, manifest=manifest)


def latest_verified(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; damaged ones are passed over and named in the log."""
    for candidate in sorted(_checkpoints(folder), key=lambda path: path.name, reverse=True):
        try:
            return verify(candidate)
        except CheckpointDamagedError as error:
            logger.warning(
                "checkpoint is damaged and passed over", extra={"checkpoint": candidate.name, "cause": str(error)}
            )
    return None


def delete_older(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and what was left of interrupted writing."""
    for path in sorted(_checkpoints(folder), key=lambda path: path.name, reverse=True)[keep:]:
        # Renamed first: a half-deleted folder must not look like a checkpoint.
        doomed = folder / f"{STAGING_PREFIX}{path.name}"
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
    for path in folder.glob(f"{STAGING_PREFIX}*"):
        shutil.rmtree(path)


@contextmanager
def no_space_reported(folder: Path, staging: Path) -> Iterator[None]:
    """Turn a write that failed for want of space into `NoSpaceError`, and take back what was written.

    Raises:
        NoSpaceError: the volume is full.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _is_full(error, folder):
            raise
        shutil.rmtree(staging, ignore_errors=True)
        raise NoSpaceError(f"no space left on the volume of {folder}; the last complete checkpoint stands") from error


def _is_full(error: OSError | RuntimeError, folder: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    # torch reports a short write as a RuntimeError without a cause.
    return folder.exists() and shutil.disk_usage(folder).free < SPARE_BYTES


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path for path in folder.iterdir() if path.is_dir() and path.name.startswith(("a-warm-start-", "b-training-"))
    ]


def _seal(folder: Path, *, state: TrainingState | None, fingerprint: str, world_size: int) -> None:
    files = {str(path.relative_to(folder)): _sum(path) for path in _files(folder)}
    manifest = Manifest(state=state, fingerprint=fingerprint, world_size=world_size, files=files)
    (folder / MANIFEST).write_text(manifest.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        _sync(path)
    _sync(folder)


def _put_in_place(staging: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    os.replace(staging, target)
    _sync(target.parent)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sum(path: Path) -> FileSum:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileSum(bytes=path.stat().st_size, sha256=digest)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
