"""Batches: sorted by length, cut by the budget, padded, with the way back to the callers' order."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from sro_screener import Batch, Encoder
from sro_screener.reference import buckets, padded

MODEL = {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9}
VOCAB = {"[PAD]": 0, "u": 1, "a": 2, "b": 3, "[C]": 4, "[S]": 5}


def small_json(**changes: object) -> str:
    document = {
        "version": "1.0",
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "BertProcessing", "cls": ["[C]", 4], "sep": ["[S]", 5]},
        "model": MODEL | {"vocab": VOCAB},
    }
    return json.dumps(document | changes)


def words(count: int) -> str:
    return " ".join("ab"[i % 2] for i in range(count))


def encode(lengths: list[int], **budget: int) -> list[Batch]:
    return Encoder.from_json(small_json(), None).encode([words(n) for n in lengths], **budget)


def test_a_batch_holds_ids_lengths_mask_segments_and_places() -> None:
    (batch,) = Encoder.from_json(small_json()).encode(["a", "b a b"])
    assert batch.input_ids.tolist() == [[4, 3, 2, 3, 5], [4, 2, 5, 0, 0]]
    assert batch.lengths.tolist() == [5, 3]
    assert batch.permutation.tolist() == [1, 0]
    assert batch.attention_mask().tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch.token_type_ids().tolist() == [[0] * 5, [0] * 5]
    assert {a.dtype for a in (batch.input_ids, batch.lengths, batch.permutation, batch.attention_mask())} == {
        np.dtype("int32")
    }
    assert (len(batch), repr(batch)) == (2, "Batch(rows=2, width=5)")


def test_segments_of_special_tokens_come_from_the_template() -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 1}}, {"SpecialToken": {"id": "[C]", "type_id": 2}}],
        "pair": [],
        "special_tokens": {"[C]": {"id": "[C]", "ids": [4], "tokens": ["[C]"]}},
    }
    (batch,) = Encoder.from_json(small_json(post_processor=template)).encode(["a b", "a"])
    assert batch.token_type_ids().tolist() == [[1, 1, 2], [1, 2, 0]]
    assert batch.input_ids.tolist() == [[2, 3, 4], [2, 4, 0]]


@given(
    lengths=st.lists(st.integers(0, 30), max_size=40),
    max_tokens=st.integers(1, 120),
    max_rows=st.none() | st.integers(1, 9),
)
@settings(max_examples=150, deadline=None)
def test_batches_are_those_of_the_readable_twin(lengths: list[int], max_tokens: int, max_rows: int | None) -> None:
    encoder = Encoder.from_json(small_json(), None)
    texts = [words(n) for n in lengths]
    found = encoder.encode(texts, max_tokens=max_tokens, max_rows=max_rows)
    ids, offsets = encoder.encode_ids(texts)
    expected = buckets([n + 2 for n in lengths], max_tokens, max_rows)
    assert [batch.permutation.tolist() for batch in found] == expected
    for batch, places in zip(found, expected, strict=True):
        rows = [ids[offsets[place] : offsets[place + 1]].tolist() for place in places]
        assert np.array_equal(batch.input_ids, padded(rows, 0))


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    found = encode([50, 1, 1], max_tokens=20)
    assert [batch.permutation.tolist() for batch in found] == [[0], [1, 2]]


def test_no_texts_make_no_batches() -> None:
    assert encode([]) == []


def test_scores_return_to_the_callers_order_through_the_permutation() -> None:
    lengths = [3, 9, 1, 9, 4]
    places = np.concatenate([batch.permutation for batch in encode(lengths, max_tokens=24)])
    restored = np.empty(5, dtype=int)
    restored[places] = np.concatenate([batch.lengths for batch in encode(lengths, max_tokens=24)])
    assert restored.tolist() == [5, 11, 3, 11, 6]


def test_an_unknown_padding_id_is_asked_for_only_where_rows_need_padding() -> None:
    without = small_json(model=MODEL | {"vocab": {"u": 1, "a": 2, "b": 3}})
    assert Encoder.from_json(without).pad_token_id is None
    assert len(Encoder.from_json(without).encode(["a b", "b a"])) == 1
    with pytest.raises(
        ValueError, match="pad_token_id: none is known: the tokenizer names no padding token, so pass one"
    ):
        Encoder.from_json(without).encode(["a b", "b"])
    (batch,) = Encoder.from_json(without, pad_token_id=9).encode(["a b", "b"])
    assert batch.input_ids.tolist() == [[4, 2, 3, 5], [4, 3, 5, 9]]


def test_the_padding_id_of_the_file_counts_unless_one_is_passed() -> None:
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_id": 3, "pad_type_id": 0, "pad_token": "b"}
    document = small_json(padding=padding)
    assert Encoder.from_json(document).pad_token_id == 3
    assert Encoder.from_json(document, pad_token_id=1).pad_token_id == 1


def test_properties_tell_what_was_loaded(uncased: Tokenizer) -> None:
    encoder = Encoder.from_json(uncased.to_str(), 64, truncation_side="left")
    assert (encoder.kind, encoder.max_length, encoder.truncation_side) == ("WordPiece", 64, "left")
    assert (encoder.pad_token_id, encoder.vocab_size) == (uncased.token_to_id("[PAD]"), uncased.get_vocab_size())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_tokens": 0}, "max_tokens: 0 is less than 1"),
        ({"max_rows": -1}, "max_rows: -1 is less than 1"),
        ({"threads": 0}, "threads: 0 is less than 1"),
    ],
)
def test_a_count_below_one_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode([1], **arguments)


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["a", 3], TypeError, r"texts\[1\]: int is not a str"),
        ([None], TypeError, r"texts\[0\]: NoneType is not a str"),
        (["a", "b", "x\ud800"], ValueError, r"texts\[2\]: has a lone surrogate"),
        ("ab", TypeError, "texts: one str is not a list of them"),
    ],
)
def test_an_element_that_is_no_text_is_named(texts: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Encoder.from_json(small_json()).encode(texts)
