"""A warm start that another job trained: what it belongs to, and loading it in place of one of our own.

The reference that a warm start leaves in `checkpoints/reference` carries an origin. Another job may start from it if the
origin is its own in every part. So may its evaluation before the game: the paraphrases that the same reference wrote for the
same sources are read, and measured anew, since measuring depends on screeners and costs little.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from sro_api.base import ApiModel, Manifest
from sro_api.run_config import RunConfig
from sro_api.sources import Roots
from sro_api.training import AdapterSpec
from sro_trainer.checkpoint import Checkpoint, CheckpointDamagedError, verify
from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.leader import Snapshot
from sro_trainer.models import LoadedModel
from sro_trainer.players import Players
from sro_trainer.resume import ORIGIN_FILE, REFERENCE, SNAPSHOT_FILE, Vault
from sro_trainer.sources_io import resolve

logger = logging.getLogger(__name__)

FIELD = "spec.leader.warmStartFrom"
REWRITES_FILE = "before-rewrites.json"
"""In `evaluations/`: what the reference wrote before the game, and what that depends on."""
_SAMPLED_VALUES = 256
"""Per tensor: enough to tell two models apart, few enough to cost nothing."""
_PROBE = "You're wrong, aren't you?  Ça va?"
"""A text in which tokenizers differ."""


class WarmStartOrigin(ApiModel):
    """What a warm-started reference belongs to; equal origins mean that it can be loaded."""

    leader: str
    """Digest of the weights before any training, whatever URI they were read from."""
    prompt: str
    """Digest of template and tokenizer."""
    adapter: Manifest
    """Which weights were trained, as in the spec."""
    rows: str
    """Fingerprint of the data, which may differ."""
    job: str
    """Name of the job that trained it."""


@dataclass(frozen=True, kw_only=True)
class Rewrites:
    """Paraphrases of the evaluation rows by a reference before the game."""

    key: str
    paraphrases: tuple[str, ...]


def origin_of(config: RunConfig, loaded: LoadedModel, players: Players) -> WarmStartOrigin:
    """The origin of a reference that this job would train.

    Args:
        config: of the run.
        loaded: the leader's weights as they were found.
        players: whose codec and rows count.
    """
    codec = players.codec
    return WarmStartOrigin(
        leader=weights_digest(loaded.model),
        prompt=_digest([codec.template, codec.prompts([_PROBE]), codec.targets([_PROBE])]),
        adapter=_shape_of(config.spec.leader.adapter),
        rows=players.fingerprint,
        job=config.name,
    )


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over names, shapes and a sample of the values of all weights, rounded to bfloat16 so that the digest is the
    same for a model that was loaded in float32."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        flat = weight.detach().reshape(-1)
        stride = max(1, flat.numel() // _SAMPLED_VALUES)
        sample = flat[::stride].to(device="cpu", dtype=torch.bfloat16).view(torch.int16)
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def adopt(vault: Vault, config: RunConfig, origin: WarmStartOrigin) -> None:
    """Copy the reference that `spec.leader.warmStartFrom` names to our own checkpoints, unless it is there; on all ranks.

    Raises:
        DataError: there is no whole reference at the URI.
        ConfigurationError: it belongs to another leader.
    """
    uri = config.spec.leader.warm_start_from
    assert uri is not None
    if vault.world.any(vault.world.is_main and vault.has_whole_reference()):
        return
    snapshot: Snapshot = {}
    if vault.world.is_main:
        found = _found(uri, config.roots)
        _refuse_another(_origin(found, uri), origin, uri)
        snapshot = load_file(found.folder / SNAPSHOT_FILE)
        logger.info("warm start loaded", extra={"from": uri})
    vault.save_reference(snapshot, origin)


def save_rewrites(folder: Path, rewrites: Rewrites) -> None:
    """Keep what a reference wrote, whole or not at all.

    Args:
        folder: of the run's evaluations.
        rewrites: of the evaluation rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{REWRITES_FILE}.{os.getpid()}"
    content = {"key": rewrites.key, "sum": _digest(rewrites.paraphrases), "paraphrases": rewrites.paraphrases}
    staging.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(staging, folder / REWRITES_FILE)


def known_rewrites(config: RunConfig, key: str) -> tuple[str, ...] | None:
    """What the job that trained the reference had it write for the same rows; None if that is not there, or not the same.

    Args:
        config: of the run, which names that job.
        key: of our own evaluation.
    """
    uri = config.spec.leader.warm_start_from
    if uri is None:
        return None
    try:
        folder = resolve(uri, config.roots, field=FIELD)
        content = json.loads((folder / "evaluations" / REWRITES_FILE).read_text(encoding="utf-8"))
    except (OSError, DataError, ValueError):
        return None
    paraphrases = tuple(str(text) for text in content.get("paraphrases", ()))
    if content.get("key") != key or content.get("sum") != _digest(paraphrases):
        return None
    logger.info("evaluation before the game is that of the warm start", extra={"from": uri})
    return paraphrases


def neighbour(config: RunConfig, folder: str) -> Path | None:
    """A folder of the output of the job whose warm start is loaded; None if there is no such job, or no such folder here."""
    uri = config.spec.leader.warm_start_from
    if uri is None:
        return None
    try:
        found = resolve(uri, config.roots, field=FIELD) / folder
    except DataError:
        # Said where the warm start itself is read.
        return None
    return found if found.is_dir() else None


def rewrites_key(config: RunConfig, origin: WarmStartOrigin, vault: Vault, evaluation: Sequence[str]) -> str:
    """What the greedy paraphrases before the game depend on.

    Args:
        config: of the run.
        origin: of the reference.
        vault: that holds the reference.
        evaluation: the sources.
    """
    leader = config.spec.leader
    return _digest(
        [
            importlib.metadata.version("sro-trainer"),
            vault.reference_sum(),
            origin.leader,
            origin.prompt,
            leader.max_new_tokens,
            leader.dtype,
            # Rows are divided among the ranks: other batches may round differently.
            vault.world.size,
            list(evaluation),
        ]
    )


def _shape_of(adapter: AdapterSpec) -> Manifest:
    """What decides which weights there are and what they mean: not how they are regularised or saved."""
    if adapter.type == "Full":
        return {"type": "Full"}
    lora = adapter.effective_lora
    return {"type": "LoRA", "rank": lora.rank, "alpha": lora.alpha, "targetModules": list(lora.target_modules)}


def _found(uri: str, roots: Roots) -> Checkpoint:
    """The reference in an output folder, in a folder of checkpoints, or in its own."""
    folder = resolve(uri, roots, field=FIELD)
    for place in (folder / "checkpoints" / REFERENCE, folder / REFERENCE, folder):
        if (place / SNAPSHOT_FILE).is_file():
            try:
                return verify(place)
            except CheckpointDamagedError as error:
                raise DataError(f"{FIELD}: {uri!r}: {error}") from error
    if (folder / "config.json").is_file():
        raise DataError(
            f"{FIELD}: {uri!r} is a model, whose warm start is in its weights: name it in spec.leader.model"
        )
    raise DataError(f"{FIELD}: {uri!r} holds no {REFERENCE}/{SNAPSHOT_FILE}: no warm start was finished there")


def _origin(found: Checkpoint, uri: str) -> WarmStartOrigin:
    try:
        return WarmStartOrigin.model_validate_json((found.folder / ORIGIN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise DataError(f"{FIELD}: {uri!r} does not say what it belongs to: {ORIGIN_FILE} cannot be read") from error


def _refuse_another(theirs: WarmStartOrigin, ours: WarmStartOrigin, uri: str) -> None:
    said = f"{FIELD}: {uri!r}, trained by {theirs.job}, is of"
    if theirs.leader != ours.leader:
        raise ConfigurationError(f"{said} another model than spec.leader.model: the weights differ")
    if theirs.adapter != ours.adapter:
        raise ConfigurationError(f"{said} another adapter: {_shown(theirs.adapter)} there, {_shown(ours.adapter)} here")
    if theirs.prompt != ours.prompt:
        raise ConfigurationError(f"{said} another prompt: spec.leader.promptTemplate or the tokenizer differs")
    if theirs.rows != ours.rows:
        logger.warning("warm start was trained on other rows: some may be evaluated here", extra={"from": uri})


def _shown(adapter: Manifest) -> str:
    return json.dumps(adapter, sort_keys=True, separators=(",", ":")).replace('"', "")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
