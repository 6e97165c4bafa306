"""The result: an ordinary transformers checkpoint with tokenizer and card, in place only once it has been loaded back."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import fsspec
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

from sro_api.run_config import RunConfig
from sro_api.status import EvaluationStatus
from sro_trainer.checkpoint import STAGING_PREFIX, no_space_reported
from sro_trainer.leader import Snapshot, lora_configuration
from sro_trainer.model_card import write_model_card
from sro_trainer.players import Players

logger = logging.getLogger(__name__)

MODEL = "model"


def export_model(
    model: PreTrainedModel,
    players: Players,
    config: RunConfig,
    folder: Path,
    *,
    evaluation: EvaluationStatus,
    dropout: dict[str, float],
    adapter: Snapshot | None,
) -> Path:
    """Write the model's folder; rank 0 alone calls it.

    Args:
        model: the policy as a plain model.
        players: whose tokenizer, screeners and counts are written too.
        config: of the run.
        folder: of the output.
        evaluation: what the card says.
        dropout: the model's own values, which were set to 0 for training.
        adapter: the adapter's weights, to be written instead of the model; None writes the model.

    Returns:
        The folder, which other users may read.

    Raises:
        NoSpaceError: the volume is full; nothing is left of the attempt.
    """
    staging, target = folder / f"{STAGING_PREFIX}{MODEL}", folder / MODEL
    with no_space_reported(folder, staging):
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        if adapter is None:
            _save_model(model, staging, dropout)
        else:
            _save_adapter(players, staging, adapter)
        players.codec.tokenizer.save_pretrained(staging)
        write_model_card(
            staging, config, evaluation, screener=players.screener.describe(),
            held_out=players.held_out.describe() if players.held_out else None, counts=players.counts, task=players.codec.task,
            instruments=players.instruments.describe() if players.instruments else None,
        )  # fmt: skip
        _make_readable(staging)
        if adapter is None:
            verify_export(model, staging, players)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(staging, target)
    return target


def verify_export(model: PreTrainedModel, folder: Path, players: Players) -> None:
    """Load what was written as anybody would, and compare every weight.

    Raises:
        RuntimeError: it is not what was saved.
    """
    factory = AutoModelForSeq2SeqLM if players.codec.task == "seq2seq" else AutoModelForCausalLM
    loaded = factory.from_pretrained(folder, dtype=model.dtype, local_files_only=True)
    AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ours, theirs = model.state_dict(), loaded.state_dict()
    different = [
        name for name, value in ours.items() if name not in theirs or not torch.equal(value.cpu(), theirs[name])
    ]
    if different:
        raise RuntimeError(f"{folder}: {different[0]} was not saved as it is in memory")


def upload(folder: Path, uri: str) -> None:
    """Copy the results to an object store, the report last: where it lies, the rest is complete."""
    system, path = fsspec.core.url_to_fs(uri)
    for name in (MODEL, "evaluations", "metrics.jsonl", "report.html", "report.json"):
        source = folder / name
        if source.exists():
            system.put(str(source), f"{path.rstrip('/')}/{name}", recursive=source.is_dir())


def _save_model(model: PreTrainedModel, folder: Path, dropout: dict[str, float]) -> None:
    for name, value in dropout.items():
        setattr(model.config, name, value)
    try:
        model.save_pretrained(folder)
    finally:
        for name in dropout:
            setattr(model.config, name, 0.0)


def _save_adapter(players: Players, folder: Path, adapter: Snapshot) -> None:
    """Write the adapter alone, as peft reads it; the base it belongs to is the one that the spec names."""
    leader = players.spec.leader
    configuration = lora_configuration(leader.adapter.effective_lora, players.codec.task)
    configuration.base_model_name_or_path = leader.model
    configuration.inference_mode = True
    configuration.save_pretrained(folder)
    weights = {
        f"base_model.model.{name.replace('.default.', '.')}": value.contiguous() for name, value in adapter.items()
    }
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _make_readable(folder: Path) -> None:
    """safetensors writes files that only their owner may read, and the reader is often another user."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
