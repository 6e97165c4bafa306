"""Small stand-ins for tests: leaders with random weights, a screener that follows a script, a world of one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from sro_api.base import Manifest
from sro_api.run_config import RunConfig
from sro_api.status import EvaluationStatus, OutputStatus, ProgressStatus
from sro_trainer.distributed import World, join, leave
from sro_trainer.loss import Scores
from sro_trainer.players import Players, build_follower, known_rates
from sro_trainer.tokens import Codec, Task
from sro_trainer.verdict_weights import Weigher
from sro_trainer.verdicts import Verdicts

SUBJECTS = ("you", "they", "we", "the man", "my neighbour", "this player")
VERBS = ("are", "were", "look like", "sound like", "act like", "will be")
RUDE = ("stupid", "an idiot", "a moron", "pathetic", "a clown", "an awful liar")
MILD = ("late", "a teacher", "very tired", "at home", "a neighbour", "on the team")
PLACES = ("today", "again", "in this town", "at work", "for once", "every day")


def toxic_sentences() -> list[str]:
    """1,296 mild insults of one grammar, all different."""
    return [f"{s} {v} {r} {p}" for s in SUBJECTS for v in VERBS for r in RUDE for p in PLACES]


def neutral_sentences() -> list[str]:
    """As many sentences of the same grammar without insults."""
    return [f"{s} {v} {m} {p}" for s in SUBJECTS for v in VERBS for m in MILD for p in PLACES]


def write_corpus(folder: Path, *, rows: int = 200) -> None:
    """`toxic.txt` and `neutral.txt`, one sentence a line, in a mixed but fixed order."""
    for name, sentences in (("toxic", toxic_sentences()), ("neutral", neutral_sentences())):
        step = 337  # No divisor of the number of sentences: visits each once.
        mixed = [sentences[(index * step) % len(sentences)] for index in range(rows)]
        (folder / f"{name}.txt").write_text("\n".join(mixed) + "\n", encoding="utf-8")


def tiny_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer over the corpus: byte-level BPE with padding equal to the end, or Unigram that appends the end."""
    corpus = [*toxic_sentences(), *neutral_sentences(), "Toxic: \nPolite: paraphrase: "]
    if kind in ("llama", "gpt2"):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<eos>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(corpus, trainer)
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>")
    # Written down and not trained: the Unigram trainer gives another vocabulary each time.
    special = ["<pad>", "</s>", "<unk>", "<s>"]
    text = " ".join(corpus)
    words = [f"▁{word}" for word in sorted(set(text.split()))]
    pieces = [(piece, 0.0) for piece in special] + [(word, -4.0) for word in words]
    pieces += [(letter, -8.0) for letter in sorted({*text, "▁"} - {" ", "\n"})]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def _llama(vocabulary: int, eos: int, pad: int) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=eos, eos_token_id=eos, pad_token_id=pad,
        tie_word_embeddings=True,
    ))  # fmt: skip


def _gpt2(vocabulary: int, eos: int, pad: int) -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=eos, eos_token_id=eos,
        pad_token_id=pad,
    ))  # fmt: skip


def _t5(vocabulary: int, eos: int, pad: int) -> PreTrainedModel:
    return T5ForConditionalGeneration(T5Config(
        vocab_size=vocabulary, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4, eos_token_id=eos,
        pad_token_id=pad, decoder_start_token_id=pad,
    ))  # fmt: skip


def _bart(vocabulary: int, eos: int, pad: int) -> PreTrainedModel:
    return BartForConditionalGeneration(BartConfig(
        vocab_size=vocabulary, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=256, eos_token_id=eos,
        bos_token_id=eos, pad_token_id=pad, decoder_start_token_id=eos, forced_eos_token_id=None,
    ))  # fmt: skip


_FAMILIES: dict[str, Callable[[int, int, int], PreTrainedModel]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "t5": _t5,
    "bart": _bart,
}


@dataclass(frozen=True)
class TinyLeader:
    """A random model of a real family with a tokenizer of its own; about 40,000 weights."""

    model: PreTrainedModel
    tokenizer: Any

    def save(self, folder: Path) -> Path:
        """Write both as a transformers folder."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        return folder


def tiny_leader(kind: str = "llama", *, seed: int = 0) -> TinyLeader:
    """A leader of the family `llama`, `gpt2`, `t5` or `bart`.

    Args:
        kind: the family.
        seed: of the weights, which are drawn wide enough that their outputs differ.
    """
    tokenizer = tiny_tokenizer(kind)
    torch.manual_seed(seed)
    model = _FAMILIES[kind](len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.1)
    return TinyLeader(model.eval(), tokenizer)


class ScriptedScreener:
    """Passes what a rule passes; its score is 0 or 1."""

    def __init__(self, passes: Callable[[str], bool], *, words: Sequence[str] = ("stupid", "idiot", "moron")) -> None:
        self._passes = passes
        self._words = tuple(words)

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        """The rule's answers."""
        passed = np.array([self._passes(text) for text in texts], dtype=np.bool_)
        return Verdicts(scores=(~passed).astype(np.float32), passed=passed)

    def toxic_words(self, n: int) -> tuple[str, ...]:
        """The script's words."""
        return self._words[:n]

    def describe(self) -> str:
        """Says that it is a script."""
        return "scripted"


@cache
def world_of_one() -> World:
    """This process alone, once per process: DeepSpeed cannot join a second world."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    torch.set_num_threads(1)
    world = join({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
    atexit.register(leave)
    return world


def tiny_job(folder: Path, *, kind: str = "llama", **spec: Any) -> RunConfig:
    """A whole run of seconds on a random leader: 3 steps of warm start and 4 of the game, float32.

    Args:
        folder: receives corpus, leader and output.
        kind: the leader's family.
        spec: parts of the spec by their wire names, merged into the defaults.
    """
    if not (folder / "leader").exists():
        write_corpus(folder)
        tiny_leader(kind).save(folder / "leader")
    defaults: Manifest = {
        "leader": {
            "model": "file:leader", "maxNewTokens": 8, "dtype": "float32", "warmStart": {"steps": 3, "batchSize": 8},
        },
        "heldOutScreener": None,
        "guards": {"similarity": None, "fluency": None, "requireEos": False},
        "evaluation": {"similarity": None, "fluency": None},
        "data": {"toxic": {"uri": "file:toxic.txt"}, "neutral": {"uri": "file:neutral.txt"}, "evaluationRows": 6},
        "optimization": {"steps": 4, "batchSize": 8, "learningRate": 1e-3, "checkpointEverySteps": 2},
        "deepspeed": {"zeroStage": 0},
        "output": {"uri": "file:out"},
    }  # fmt: skip
    return RunConfig.model_validate(
        {"name": "tiny", "spec": _merged(defaults, spec), "inputs": str(folder), "outputs": str(folder)}
    )


def make_players(
    folder: Path, world: World, *, passes: Callable[[str], bool] = bool, kind: str = "llama", **spec: Any
) -> Players:
    """The players of a tiny job, with a scripted screener in the place of a fitted one."""
    config = tiny_job(folder, kind=kind, **spec)
    leader = tiny_leader(kind)
    task: Task = "seq2seq" if kind in ("t5", "bart") else "causal"
    screener = ScriptedScreener(passes)
    weigher = Weigher(rates=known_rates(config.spec.method.verdict_noise))
    return Players(
        spec=config.spec, world=world, codec=Codec(leader.tokenizer, task, None, frozenset([leader.tokenizer.eos_token_id])),
        sources=tuple(toxic_sentences()[:40]), neutral=tuple(neutral_sentences()[:40]), evaluation=tuple(toxic_sentences()[40:46]),
        screener=screener, follower=build_follower(config.spec, screener), weigher=weigher,
        held_out=None, encoder=None, fingerprint="scripted", counts={},
    )  # fmt: skip


def make_scores(
    paraphrase: Sequence[float] | torch.Tensor,
    weight: Sequence[float],
    *,
    source: Sequence[float] | torch.Tensor | None = None,
    **fields: Any,
) -> Scores:
    """Scores of a few rows, in the type of `paraphrase`, or float64.

    Args:
        paraphrase: log-ratios, one per row.
        weight: 1 for a passed row, 0 for a failed one.
        source: log-ratios of the sources of the rows whose weight is not 0; None where no source is scored.
        fields: others of `Scores`; zeros and a group of its own for each row where absent.
    """
    dtype = paraphrase.dtype if isinstance(paraphrase, torch.Tensor) else torch.float64
    weights = torch.tensor(weight, dtype=dtype)
    sources = torch.as_tensor(() if source is None else source, dtype=dtype)
    values: dict[str, Any] = {
        "paraphrase": torch.as_tensor(paraphrase, dtype=dtype), "source": sources, "weight": weights,
        "sourced": weights != 0 if source is not None else torch.zeros(len(weights), dtype=torch.bool),
        "nll": torch.zeros(len(weights), dtype=dtype), "group": torch.arange(len(weights)),
    }  # fmt: skip
    return Scores(**(values | fields))


class RecordingReporter:
    """Keeps what it is told, and calls back, so that a test can interfere at a known point of a run."""

    def __init__(self, then: Callable[[ProgressStatus], None] | None = None) -> None:
        self.progress: list[ProgressStatus] = []
        self.evaluations: list[EvaluationStatus] = []
        self.outputs: list[OutputStatus] = []
        self.is_closed = False
        self._then = then

    def report(self, progress: ProgressStatus) -> None:
        """Keep it."""
        self.progress.append(progress)
        if self._then is not None:
            self._then(progress)

    def evaluation(self, evaluation: EvaluationStatus) -> None:
        """Keep it."""
        self.evaluations.append(evaluation)

    def output(self, output: OutputStatus) -> None:
        """Keep it."""
        self.outputs.append(output)

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True


def _merged(under: Manifest, over: Manifest) -> Manifest:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
