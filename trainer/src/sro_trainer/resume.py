"""Where an attempt begins: at the last checkpoint that is whole and of the same run, or at the beginning."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from sro_api.base import ApiModel
from sro_trainer.checkpoint import (
    Checkpoint,
    CheckpointDamagedError,
    delete_older,
    latest_verified,
    save_checkpoint,
    save_tensors,
    verify,
)
from sro_trainer.distributed import World
from sro_trainer.errors import ConfigurationError
from sro_trainer.leader import Leader, Snapshot
from sro_trainer.trained_state import read_trained_state, write_trained_state
from sro_trainer.training_state import TrainingState

logger = logging.getLogger(__name__)

REFERENCE = "reference"
"""Folder beside the checkpoints: the warm-started weights, which policy and reference start from."""
SNAPSHOT_FILE = "weights.safetensors"
ORIGIN_FILE = "origin.json"
"""What the reference belongs to, for a job that starts from another one's warm start."""
Memory = dict[str, float]
"""Numbers by name that a run looks up rather than computes again: computed in another batch, their last bits would differ."""
_REFERENCE_FILE = "reference.safetensors"
_BYTES_PER_WEIGHT = 12
"""Of a checkpoint: a float32 master and two moments."""


def _memory_file(rank: int) -> str:
    return f"memory-{rank:05d}.json"


@dataclass(frozen=True, kw_only=True)
class Vault:
    """The checkpoints of one run."""

    folder: Path
    fingerprint: str
    keep: int
    world: World

    def save(
        self, engine: Any, leader: Leader, state: TrainingState, memory: Memory, *, reference: Snapshot | None = None
    ) -> None:
        """Write a checkpoint of a stage, then delete older ones.

        Args:
            engine: round the leader, between two steps.
            leader: whose policy is trained.
            state: where the run is.
            memory: what this rank must know again to go on as if it had not been cut, beside what it has learnt.
            reference: the reference's weights, if they are no longer those that the game began with; rank 0's count.

        Raises:
            NoSpaceError: the volume is full, or would be.
        """

        def write(folder: Path) -> None:
            write_trained_state(folder, engine, leader, self.world)
            (folder / _memory_file(self.world.rank)).write_text(json.dumps(memory), encoding="utf-8")
            if reference is not None and self.world.is_main:
                save_tensors({name: value.contiguous() for name, value in reference.items()}, folder / _REFERENCE_FILE)

        trained = sum(int(getattr(weight, "ds_numel", weight.numel())) for weight in leader.trained().values())
        save_checkpoint(
            self.folder,
            state.name,
            write,
            state=state,
            fingerprint=self.fingerprint,
            world=self.world,
            expected_bytes=trained * (_BYTES_PER_WEIGHT if reference is None else _BYTES_PER_WEIGHT + 4),
        )
        if self.world.is_main:
            delete_older(self.folder, keep=self.keep)
            logger.info("checkpoint written", extra={"checkpoint": state.name})

    def restore(self, engine: Any, leader: Leader, folder: Path) -> None:
        """Put weights, optimiser and schedule back as they were, whatever number of processes wrote them.

        Raises:
            ConfigurationError: the checkpoint is of another version, or of other trained weights.
        """
        try:
            read_trained_state(folder, engine, leader)
        except (KeyError, OSError, SafetensorError) as error:
            raise ConfigurationError(
                f"spec.output.checkpoints: {folder.name} cannot be put into this leader ({error}); name another folder or delete it"
            ) from error

    def memory(self, folder: Path) -> Memory:
        """What this rank wrote into a checkpoint; of another number of ranks, what all of them wrote together."""
        ranks = sorted(folder.glob("memory-*.json"))
        if len(ranks) == self.world.size:
            ranks = [folder / _memory_file(self.world.rank)]
        elif self.world.is_main:
            logger.warning("resumed on another number of processes", extra={"then": len(ranks), "now": self.world.size})
        memory: Memory = {}
        for path in ranks:
            memory |= json.loads(path.read_text(encoding="utf-8"))
        return memory

    def save_reference(self, snapshot: Snapshot, origin: ApiModel) -> None:
        """Write the warm-started weights once, and what they belong to; rank 0's count.

        Raises:
            NoSpaceError: the volume is full.
        """

        def write(folder: Path) -> None:
            if self.world.is_main:
                save_tensors({name: value.contiguous() for name, value in snapshot.items()}, folder / SNAPSHOT_FILE)
                (folder / ORIGIN_FILE).write_text(origin.model_dump_json(by_alias=True), encoding="utf-8")

        save_checkpoint(self.folder, REFERENCE, write, state=None, fingerprint=self.fingerprint, world=self.world)

    def reference(self) -> Snapshot:
        """The warm-started weights, verified when the attempt began."""
        return load_file(self.folder / REFERENCE / SNAPSHOT_FILE)

    def reference_sum(self) -> str:
        """SHA-256 of the warm-started weights, as they were verified."""
        return verify(self.folder / REFERENCE).manifest.files[SNAPSHOT_FILE].sha256

    def has_whole_reference(self) -> bool:
        """Whether a reference of this run is there and matches its checksums.

        Raises:
            ConfigurationError: it is another run's.
        """
        try:
            self._refuse_another(verify(self.folder / REFERENCE))
        except CheckpointDamagedError:
            return False
        return True

    @staticmethod
    def reference_in(checkpoint: Path | None) -> Snapshot | None:
        """The weights of a reference that was renewed before the checkpoint; None if it has none."""
        path = checkpoint / _REFERENCE_FILE if checkpoint is not None else None
        return load_file(path) if path is not None and path.is_file() else None

    def find(self, *, warm_starts: bool) -> tuple[TrainingState, Path | None]:
        """Where to begin, and the checkpoint to begin from; the same on every rank.

        Args:
            warm_starts: whether the run has a warm start, its own or another job's.

        Raises:
            ConfigurationError: the folder holds another run's checkpoints.
        """
        found = self._find(warm_starts=warm_starts) if self.world.is_main else None
        box = self.world.from_main(found)
        assert box is not None
        return box

    def _find(self, *, warm_starts: bool) -> tuple[TrainingState, Path | None]:
        latest = latest_verified(self.folder)
        has_reference = not warm_starts or self.has_whole_reference()
        if latest is None or latest.manifest.state is None:
            stage = "Training" if has_reference else "WarmStart"
            return TrainingState(stage="Training" if stage == "Training" else "WarmStart"), None
        self._refuse_another(latest)
        state = latest.manifest.state
        if state.stage == "Training" and not has_reference:
            # Without the reference the game cannot be told from any other: it is played again.
            logger.warning("reference is damaged: the warm start is done again", extra={"checkpoint": state.name})
            for path in self.folder.glob("b-training-*"):
                shutil.rmtree(path)
            return self._find(warm_starts=True)
        if state.stage == "WarmStart" and has_reference:
            return TrainingState(stage="Training", evaluation=state.evaluation), None
        return state, latest.folder

    def _refuse_another(self, found: Checkpoint) -> None:
        if found.manifest.fingerprint != self.fingerprint:
            raise ConfigurationError(
                f"spec.output.checkpoints: {self.folder} holds {found.folder.name} of another run (other data or spec, or an "
                "older version); name another folder or delete it"
            )
