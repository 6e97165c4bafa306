"""Small stand-ins for tests: leaders with random weights, a screener that follows a script, a world of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

from sro_trainer.verdicts import Verdicts

SUBJECTS = ("you", "they", "we", "the man", "my neighbour", "this player")
VERBS = ("are", "were", "look like", "sound like", "act like", "will be")
RUDE = ("stupid", "an idiot", "a moron", "pathetic", "a clown", "an awful liar")
MILD = ("late", "a teacher", "very tired", "at home", "a neighbour", "on the team")
PLACES = ("today", "again", "in this town", "at work", "for once", "every day")


def toxic_sentences() -> list[str]:
    """216 x 6 mild insults of one grammar, all different."""
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
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>", "<s>"]
    tokenizer.train_from_iterator(
        corpus, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
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
