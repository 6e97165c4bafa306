"""A word's state is one row, however long its sentence and however many tokens the word has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from sro_trainer.word_states import WordReader

POSITIONS = 12
ROOM = POSITIONS - 2
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh", *"-!"]


@pytest.fixture(scope="module", params=["BERT", "RoBERTa"])
def reader(request: pytest.FixtureRequest) -> WordReader:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    torch.manual_seed(0)
    size = {
        "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    }  # fmt: skip
    model = (
        BertModel(BertConfig(**size, max_position_embeddings=POSITIONS))
        if request.param == "BERT"
        # Its first position is the one after the padding token's id.
        else RobertaModel(RobertaConfig(**size, max_position_embeddings=POSITIONS + 1, pad_token_id=0))
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    )
    return WordReader(model.eval(), fast, is_causal=False)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (list("abcdefgh"), [list("abcdefgh")]),
        (list("abcdefgh") * 2, [list("abcdefgh") + list("ab"), list("cdefgh")]),
        ([*"abcdefgh", "----", "a"], [list("abcdefgh"), ["----", "a"]]),
        (["a", "-" * 50, "b"], [["a"], ["-" * ROOM], ["b"]]),
        (["!" * 600], [["!" * ROOM]]),
    ],
    ids=["fits", "twice as long", "a word is not cut in two", "a word beyond the window", "nothing but marks"],
)  # fmt: skip
def test_a_long_sentence_is_read_in_parts(reader: WordReader, words: list[str], parts: list[list[str]]) -> None:
    (states,) = reader.states([words])
    apart = reader.states(parts)
    assert states.shape == (len(words) + 1, 16)
    # Of each part but the last the row of its end is left out.
    expected = np.concatenate([*(part[:-1] for part in apart[:-1]), apart[-1]])
    np.testing.assert_allclose(states, expected, atol=1e-6)


def test_long_and_short_sentences_keep_their_order(reader: WordReader) -> None:
    sentences = [list("abcdefgh") * 3, ["a"], ["-" * 50, "b"], list("hgf")]
    together = reader.states(sentences)
    for sentence, states in zip(sentences, together, strict=True):
        np.testing.assert_allclose(states, reader.states([sentence])[0], atol=1e-6)
