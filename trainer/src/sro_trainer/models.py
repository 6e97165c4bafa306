"""Leaders read from disk: transformers folders and GGUF files, causal and seq2seq, with every dropout off."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.initialization import no_init_weights
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)
from transformers.utils.quantization_config import GgufConfig

from sro_api.training import LeaderSpec
from sro_trainer.errors import ConfigurationError, unreadable
from sro_trainer.gguf_files import opened_once
from sro_trainer.sources_io import ModelLocation
from sro_trainer.tokens import Task, check_special_tokens

logger = logging.getLogger(__name__)

_OTHER_HEADS = ("ForSequenceClassification", "ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering")


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A leader's weights as they were found, with every dropout off, so that train and eval mode agree."""

    model: PreTrainedModel
    task: Task
    dropout: dict[str, float]
    """The configuration's own dropout values by name, for the saved result."""


def load_model(location: ModelLocation, spec: LeaderSpec, dtype: torch.dtype) -> LoadedModel:
    """Read the leader's weights.

    Raises:
        ConfigurationError: the model is not of the kind that `spec.leader.task` names, or of neither kind.
        DataError: the folder holds no model that transformers can read.
    """
    with unreadable(f"spec.leader.model: {spec.model!r} holds no readable configuration"):
        config = read_config(location)
    task = leader_task(config, spec)
    dropout = switch_dropout_off(config)
    factory = AutoModelForSeq2SeqLM if task == "seq2seq" else AutoModelForCausalLM
    with unreadable(f"spec.leader.model: {spec.model!r} cannot be loaded"):
        if location.gguf_file is not None:
            model = load_gguf(factory, location, config, dtype)
        else:
            model = factory.from_pretrained(location.folder, config=config, dtype=dtype, local_files_only=True)
    model.config.use_cache = True
    return LoadedModel(model=model.eval(), task=task, dropout=dropout)


def leader_dtype(spec: LeaderSpec, device: torch.device) -> torch.dtype:
    """Of the leader's weights: bfloat16 where the processor multiplies it natively, unless the spec says."""
    match spec.dtype:
        case "bfloat16":
            return torch.bfloat16
        case "float32":
            return torch.float32
        case "auto":
            return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32


def load_tokenizer(location: ModelLocation, spec: LeaderSpec) -> Any:
    """The leader's tokenizer.

    Raises:
        ConfigurationError: it has no end of sequence.
        DataError: there is none at the location.
    """
    with unreadable(f"spec.leader.tokenizer: no tokenizer can be loaded from {(spec.tokenizer or spec.model)!r}"):
        tokenizer = read_tokenizer(location)
    check_special_tokens(tokenizer)
    return tokenizer


def leader_task(config: PretrainedConfig, spec: LeaderSpec) -> Task:
    """Which kind of leader a configuration describes.

    Raises:
        ConfigurationError: neither kind, or not the one that the spec names.
    """
    heads = tuple(config.architectures or ())
    found: Task | None = None
    if config.is_encoder_decoder and config.model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        found = "seq2seq"
    elif config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not any(
        head.endswith(_OTHER_HEADS) for head in heads
    ):
        found = "causal"
    if found is None:
        what = ", ".join(heads) or config.model_type
        raise ConfigurationError(
            f"spec.leader.model: {spec.model!r} is {what}: neither a causal nor a seq2seq language model"
        )
    if spec.task not in ("auto", found):
        raise ConfigurationError(f"spec.leader.task: {spec.task!r}, but {spec.model!r} is a {found} model")
    return found


def switch_dropout_off(config: PretrainedConfig) -> dict[str, float]:
    """Set every dropout of a model's configuration to 0 and return the former values by name."""
    former = {name: value for name, value in vars(config).items() if _is_dropout(name, value)}
    for name in former:
        setattr(config, name, 0.0)
    return former


def _is_dropout(name: str, value: object) -> bool:
    named = "drop" in name or name.endswith("pdrop")
    return named and isinstance(value, float) and value != 0.0


def read_config(location: ModelLocation) -> PretrainedConfig:
    """A model's configuration; raises what transformers raises."""
    with opened_once():
        return AutoConfig.from_pretrained(location.folder, local_files_only=True, **_named_file(location))


def read_tokenizer(location: ModelLocation) -> Any:
    """A model's tokenizer; raises what transformers raises."""
    with opened_once():
        return AutoTokenizer.from_pretrained(location.folder, local_files_only=True, **_named_file(location))


def _named_file(location: ModelLocation) -> dict[str, str]:
    return {"gguf_file": location.gguf_file} if location.gguf_file is not None else {}


def load_gguf(factory: Any, location: ModelLocation, config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """Unpack a GGUF file into an ordinary model: one that was loaded as quantised refuses to be saved."""
    with opened_once():
        packed = factory.from_pretrained(
            location.folder,
            gguf_file=location.gguf_file,
            dtype=dtype,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
        )
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = dtype
    with no_init_weights():
        model: PreTrainedModel = type(packed)(config)
    # Assigned, not cast: buffers, as rotary frequencies, keep their float32.
    model.load_state_dict(packed.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = packed.generation_config
    return model


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    flags = Path("/proc/cpuinfo")
    # Without native instructions bfloat16 is emulated and slower than float32.
    return flags.exists() and any(
        name in flags.read_text(encoding="ascii", errors="replace") for name in ("avx512_bf16", "amx_bf16")
    )
