"""Tokenizers: from a list of texts to padded ids, and to flat ids beside the rivals. Identity before timing.

Every round has objects that have seen no text yet, on both sides, except in the figures called warm.
"""

import json
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from corpora import DATA, corpus
from paired import Figure, Way, beside
from rivals import RIVALS, Rival

FILES = {
    "wordpiece": "gte",
    "wordpiece-cased": "bert_base_cased",
    "bpe": "gpt2",
    "bpe-modernbert": "modernbert",
    "unigram": "xlnet_base_cased",
}
KINDS = ("wordpiece", "bpe", "unigram")
MAX_LENGTH = 128
ONE_BATCH = 1 << 30


def tokenizer_json(kind: str) -> str:
    """A published file where there is one, or a small tokenizer trained here."""
    path = DATA / "tokenizers" / f"{FILES[kind]}.json"
    return path.read_text(encoding="utf-8") if path.exists() else trained_json(kind.partition("-")[0])


def trained_json(kind: str) -> str:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    parts: dict[str, tuple[Any, Any, Any, Any]] = {
        "wordpiece": (
            models.WordPiece(unk_token="[UNK]"),
            normalizers.BertNormalizer(),
            pre_tokenizers.BertPreTokenizer(),
            trainers.WordPieceTrainer(vocab_size=5000, special_tokens=["[PAD]", "[UNK]"]),
        ),
        "bpe": (
            models.BPE(),
            normalizers.NFC(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            trainers.BpeTrainer(vocab_size=5000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        ),
        "unigram": (
            models.Unigram(),
            normalizers.NFKD(),
            pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
            trainers.UnigramTrainer(vocab_size=2000, special_tokens=["<pad>", "<unk>"], unk_token="<unk>"),
        ),
    }
    model, normalizer, pre_tokenizer, trainer = parts[kind]
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.train_from_iterator(next(iter(corpus(quick=True)[0].values())), trainer)
    return tokenizer.to_str()


def tokenizer_figures(name: str, texts: list[str], threads: int, rounds: int) -> list[Figure]:
    """The figures of all kinds on one list of texts."""
    figures = []
    for kind in KINDS:
        document = tokenizer_json(kind)
        check_identity(document, texts)
        figures += kind_figures(f"{kind}/{name}", document, texts, threads, rounds)
    return figures


@cache
def reference_of(document: str) -> Any:
    """The reference, one for each file: loading it takes as long as several rounds."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(document)
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_LENGTH)
    return tokenizer


@cache
def wrapped_of(document: str) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(document), pad_token="[PAD]")


@cache
def warm_encoder(document: str) -> Any:
    from sro_screener import Encoder

    return Encoder.from_json(document, MAX_LENGTH, pad_token_id=0)


def to_tensors(wrapped: Any, texts: list[str]) -> Any:
    return wrapped(texts, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="np")


def forgetful(tokenizer: Any, model: Any) -> Callable[[], Any]:
    """Makes the reference forget the words that it has seen, where its kind of model remembers any."""

    def forget() -> Any:
        if hasattr(model, "_clear_cache"):
            model._clear_cache()
        return tokenizer

    return forget


def kind_figures(label: str, document: str, texts: list[str], threads: int, rounds: int) -> list[Figure]:
    from sro_screener import Encoder

    def encode(encoder: Encoder) -> Any:
        return encoder.encode(texts, max_tokens=ONE_BATCH, threads=threads)

    def encoder() -> Encoder:
        return Encoder.from_json(document, MAX_LENGTH, pad_token_id=0)

    reference, wrapped, warm = reference_of(document), wrapped_of(document), warm_encoder(document)
    theirs = {
        f"{label}/transformers": Way(
            prepare=forgetful(wrapped, wrapped.backend_tokenizer.model),
            work=lambda wrapped: to_tensors(wrapped, texts),
        ),
        f"{label}/encode_batch_fast": Way(
            prepare=forgetful(reference, reference.model), work=lambda reference: reference.encode_batch_fast(texts)
        ),
    }
    in_memory = {f"{label}/encode_batch_fast-warm": Way(work=lambda _: reference.encode_batch_fast(texts))}
    return [
        *beside(texts, Way(prepare=encoder, work=encode), theirs, rounds),
        *beside(texts, Way(work=lambda _: encode(warm)), in_memory, rounds),
    ]


def check_identity(document: str, texts: list[str]) -> None:
    """Stops where an id differs from that of tokenizers or of transformers."""
    import numpy as np

    (batch,) = warm_encoder(document).encode(texts, max_tokens=ONE_BATCH)
    expected = [encoding.ids for encoding in reference_of(document).encode_batch_fast(texts)]
    tensors = to_tensors(wrapped_of(document), texts)
    for row, place in enumerate(batch.permutation.tolist()):
        length = int(batch.lengths[row])
        if batch.input_ids[row, :length].tolist() != expected[place]:
            raise SystemExit(f"text {place} has other ids than tokenizers gives it")
        kept = tensors["input_ids"][place][tensors["attention_mask"][place] == 1]
        if not np.array_equal(batch.input_ids[row, :length], kept):
            raise SystemExit(f"text {place} has other ids than transformers gives it")


def rivals_tried(texts: list[str], kinds: Iterable[str]) -> list[dict[str, Any]]:
    """Each rival with each kind's file: its version, what it refuses, and how many of the texts get other ids."""
    return [tried(rival, kind, texts) for kind in kinds for rival in RIVALS]


@cache
def uncut_files() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


@cache
def uncut(kind: str) -> Path:
    """The file without truncation and padding, which not every rival can turn off; written once, for writing takes a second."""
    document = json.loads(tokenizer_json(kind)) | {"truncation": None, "padding": None}
    path = Path(uncut_files().name) / f"{kind}.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def tried(rival: Rival, kind: str, texts: list[str]) -> dict[str, Any]:
    from sro_screener import Encoder

    found: dict[str, Any] = {"kind": kind, "rival": rival.distribution}
    if not rival.is_installed:
        return found | {"outcome": "not installed"}
    found["version"] = version(rival.distribution)
    path = uncut(kind)
    ids, offsets = Encoder.from_file(path, None).encode_ids(texts)
    expected = [ids[start:end].tolist() for start, end in pairwise(offsets)]
    try:
        rows = rival.rows(rival.load(path)(texts))
    except (ValueError, RuntimeError, TypeError, KeyError, OSError) as error:
        return found | {"outcome": f"refused: {str(error).splitlines()[0][:120]}"}
    wrong = [place for place, pair in enumerate(zip(rows, expected, strict=True)) if pair[0] != pair[1]]
    return found | {
        "outcome": "exact" if not wrong else "differs",
        "wrong": len(wrong),
        "texts": len(texts),
        "first": wrong[:3],
    }


def rival_figures(name: str, texts: list[str], tried: list[dict[str, Any]], rounds: int, cold: bool) -> list[Figure]:
    """Flat ids on one thread beside every rival that was exact; cold: every round loads all of them anew, untimed."""
    from sro_screener import Encoder

    def encode(encoder: Encoder) -> Any:
        return encoder.encode_ids(texts, threads=1)

    figures = []
    for kind in FILES:
        names = {found["rival"] for found in tried if found["kind"] == kind and found["outcome"] == "exact"}
        exact = [rival for rival in RIVALS if rival.distribution in names]
        if not exact:
            continue
        path = uncut(kind)
        warm = Encoder.from_file(path, None)
        loaded = {rival.distribution: rival.load(path) for rival in exact}
        theirs = {
            f"{kind}/{name}/{rival}-warm": Way(work=lambda _, call=call: call(texts)) for rival, call in loaded.items()
        }
        figures += beside(texts, Way(work=lambda _, warm=warm: encode(warm)), theirs, rounds)
        if cold:
            theirs = {
                f"{kind}/{name}/{rival.distribution}": Way(
                    prepare=partial(rival.load, path), work=lambda call: call(texts)
                )
                for rival in exact
            }
            figures += beside(texts, Way(prepare=partial(Encoder.from_file, path, None), work=encode), theirs, rounds)
    return figures
