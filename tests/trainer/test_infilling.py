"""Mask and infill: the words before a gap are read once, and every filling is scored as if the whole text had been."""

from __future__ import annotations

import pytest
import torch

from sro_trainer.baselines import CANDIDATES, GAP, Infiller, can_infill, delete_words, gaps
from sro_trainer.testing import neutral_sentences, tiny_leader
from sro_trainer.tokens import Codec

TINY = tiny_leader("llama")
CODEC = Codec(TINY.tokenizer, "causal", None, frozenset({TINY.tokenizer.eos_token_id}))
LEXICON = ("stupid", "idiot")


def mean_logp(pieces: list[str], place: int) -> float:
    """Of a text, read at once; the words before the gap are tokenized apart from those after it."""
    before, after = " ".join(pieces[:place]), "".join(f" {piece}" for piece in pieces[place:])
    encoded = [
        TINY.tokenizer(part, add_special_tokens=False).input_ids for part in (before, after if before else after[1:])
    ]
    ids = torch.tensor([[TINY.tokenizer.eos_token_id, *encoded[0], *encoded[1]]])
    with torch.no_grad():
        logps = TINY.model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
    return float(logps.gather(-1, ids[0, 1:, None]).mean()) if ids.shape[1] > 1 else 0.0


def filled_slowly(text: str) -> str:
    """One text at a time, one gap at a time, each candidate read from its beginning."""
    pieces = gaps(text, LEXICON)
    while GAP in pieces:
        place = pieces.index(GAP)
        before, after = pieces[:place], pieces[place + 1 :]
        ids = [TINY.tokenizer.eos_token_id, *TINY.tokenizer(" ".join(before), add_special_tokens=False).input_ids]
        with torch.no_grad():
            likely = TINY.model(input_ids=torch.tensor([ids])).logits[0, -1].topk(64).indices.tolist()
        decoded = [TINY.tokenizer.decode([token]) for token in likely]
        words = [word.strip() for word in decoded if word.strip().isalpha() and word[:1].isspace()]
        fillings: list[list[str]] = [[], *([word] for word in words if word.casefold() not in LEXICON)][
            : CANDIDATES + 1
        ]
        rest = [piece for piece in after if piece != GAP]
        best = max(fillings, key=lambda filling: mean_logp([*before, *filling, *rest], place))
        pieces = [*before, *best, *after]
    return " ".join(pieces)


def test_gaps_are_filled_as_if_each_text_had_been_read_whole() -> None:
    texts = [f"{text} you idiot {text}" for text in neutral_sentences()[:6]]
    texts += [
        "stupid",
        "stupid people talk",
        "what an idiot",
        "you stupid, stupid man",
        "nothing of the kind",
        "Idiot! stupid idiot",
    ]
    infilled = Infiller(TINY.model, CODEC, LEXICON)(texts)
    assert infilled == [filled_slowly(text) for text in texts]
    assert infilled[-2] == "nothing of the kind"
    assert any(text != delete_words(source, LEXICON) for text, source in zip(infilled, texts, strict=True))


def test_no_word_of_the_lexicon_is_put_back() -> None:
    texts = [f"{text} idiot" for text in neutral_sentences()[:10]]
    for text in Infiller(TINY.model, CODEC, LEXICON)(texts):
        assert GAP not in text
        assert not {word.casefold() for word in text.split()} & set(LEXICON)


@pytest.mark.parametrize(("kind", "expected"), [("llama", True), ("gpt2", True), ("t5", False)])
def test_who_can_fill_gaps(kind: str, expected: bool) -> None:
    assert can_infill(tiny_leader(kind).model, "seq2seq" if kind == "t5" else "causal") is expected
