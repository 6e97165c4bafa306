"""Checkpoints: whole or absent, and never trusted unchecked."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sro_trainer.checkpoint import (
    MANIFEST,
    CheckpointDamagedError,
    delete_older,
    latest_verified,
    save_checkpoint,
    save_tensors,
    verify,
)
from sro_trainer.distributed import World
from sro_trainer.errors import NoSpaceError
from sro_trainer.training_state import Stage, TrainingState


def save(folder: Path, world: World, step: int, *, stage: Stage = "Training", content: str = "weights") -> Path:
    state = TrainingState(stage=stage, step=step)

    def write(staging: Path) -> None:
        (staging / "deepspeed").mkdir()
        (staging / "deepspeed" / "weights.pt").write_text(content * 100)

    return save_checkpoint(folder, state.name, write, state=state, fingerprint="rows", world=world)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_says_where_the_run_is(tmp_path: Path, world: World) -> None:
    save(tmp_path, world, 50)
    found = latest_verified(tmp_path)
    assert found is not None
    assert found.manifest.state == TrainingState(stage="Training", step=50)
    assert found.manifest.files.keys() == {"deepspeed/weights.pt"}


def test_the_game_is_newer_than_the_warm_start(tmp_path: Path, world: World) -> None:
    save(tmp_path, world, 2, stage="Training")
    save(tmp_path, world, 100, stage="WarmStart")
    found = latest_verified(tmp_path)
    assert found is not None
    assert found.folder.name == "b-training-000000002"


DAMAGES: dict[str, Callable[[Path], object]] = {
    "changed byte": lambda folder: flip_a_byte(folder / "deepspeed" / "weights.pt"),
    "cut file": lambda folder: (folder / "deepspeed" / "weights.pt").write_text("wei"),
    "missing file": lambda folder: (folder / "deepspeed" / "weights.pt").unlink(),
    "stray file": lambda folder: (folder / "stray").touch(),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "half a manifest": lambda folder: (folder / MANIFEST).write_text('{"state":'),
    "manifest of noise": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_passed_over(
    damage: Callable[[Path], object], tmp_path: Path, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, world, 1)
    newest = save(tmp_path, world, 2)
    damage(newest)
    with pytest.raises(CheckpointDamagedError):
        verify(newest)
    found = latest_verified(tmp_path)
    assert found is not None
    assert found.folder.name == "b-training-000000001"
    assert "checkpoint is damaged and passed over" in caplog.messages


def test_no_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert latest_verified(tmp_path / "absent") is None


def test_what_was_being_written_is_no_checkpoint_and_is_cleared_away(tmp_path: Path, world: World) -> None:
    (tmp_path / ".writing-b-training-000000009" / "deepspeed").mkdir(parents=True)
    save(tmp_path, world, 1)
    found = latest_verified(tmp_path)
    assert found is not None
    assert found.folder.name == "b-training-000000001"
    delete_older(tmp_path, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["b-training-000000001"]


def test_older_checkpoints_are_deleted_and_the_reference_is_not(tmp_path: Path, world: World) -> None:
    save_checkpoint(
        tmp_path, "reference", lambda folder: (folder / "w").touch(), state=None, fingerprint="rows", world=world
    )
    for step in (1, 2, 3):
        save(tmp_path, world, step)
    delete_older(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "b-training-000000002",
        "b-training-000000003",
        "reference",
    ]


def test_a_full_volume_leaves_the_last_checkpoint_and_nothing_else(tmp_path: Path, world: World) -> None:
    save(tmp_path, world, 1)

    def fill(staging: Path) -> None:
        (staging / "half").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NoSpaceError, match="no space left on the volume of"):
        save_checkpoint(tmp_path, "b-training-000000002", fill, state=None, fingerprint="rows", world=world)
    assert [path.name for path in tmp_path.iterdir()] == ["b-training-000000001"]


def test_another_error_while_writing_is_not_taken_for_a_full_volume(tmp_path: Path, world: World) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "denied")

    with pytest.raises(PermissionError):
        save_checkpoint(tmp_path, "b-training-000000002", refuse, state=None, fingerprint="rows", world=world)


def test_other_users_may_read_a_checkpoint(tmp_path: Path, world: World) -> None:
    folder = save(tmp_path, world, 1)
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*")} == {0o644, 0o755}


def test_a_checkpoint_that_cannot_fit_is_refused_before_anything_is_written(tmp_path: Path, world: World) -> None:
    written: list[Path] = []
    with pytest.raises(NoSpaceError, match=r"it takes about \d+ MiB, \d+ MiB are free"):
        save_checkpoint(
            tmp_path, "b-training-000000001", written.append, state=None, fingerprint="rows", world=world,
            expected_bytes=1 << 60,
        )  # fmt: skip
    assert written == []
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_file_that_is_too_large_names_the_cause(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(OSError) as failure:
            save_tensors({"w": torch.zeros(100_000)}, tmp_path / "w.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failure.value.errno == errno.EFBIG
