"""Flat buffers: padded and packed, of either width, the caller's or new, from lists and from Arrow columns."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sro_screener import Encoder, NbLogistic, PackedBatch, PaddedBatch, encode_batches
from sro_screener.reference import buckets, padded

MODEL = {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9}
ENCODER = Encoder.from_json(
    json.dumps(
        {
            "version": "1.0",
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": {"type": "BertProcessing", "cls": ["[C]", 4], "sep": ["[S]", 5]},
            "model": MODEL | {"vocab": {"[PAD]": 0, "u": 1, "a": 2, "b": 3, "[C]": 4, "[S]": 5}},
        }
    ),
    None,
)


def words(count: int) -> str:
    return " ".join("ab"[i % 2] for i in range(count))


def rows_of(texts: list[str]) -> list[list[int]]:
    ids, offsets = ENCODER.encode_ids(texts)
    return [ids[offsets[i] : offsets[i + 1]].tolist() for i in range(len(texts))]


@given(
    lengths=st.lists(st.integers(0, 30), max_size=40),
    max_tokens=st.integers(1, 120),
    max_rows=st.none() | st.integers(1, 9),
    wide=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_padded_batches_are_those_of_the_readable_twin(
    lengths: list[int], max_tokens: int, max_rows: int | None, wide: bool
) -> None:
    texts = [words(n) for n in lengths]
    rows = rows_of(texts)
    expected = buckets([n + 2 for n in lengths], max_tokens, max_rows)
    found = encode_batches(ENCODER, texts, max_tokens=max_tokens, max_rows=max_rows, dtype="int64" if wide else "int32")
    assert [batch.permutation.tolist() for batch in found] == expected
    for batch, places in zip(found, expected, strict=True):
        assert isinstance(batch, PaddedBatch)
        assert batch.input_ids.dtype == batch.attention_mask.dtype == (np.int64 if wide else np.int32)
        assert np.array_equal(batch.input_ids, padded([rows[place] for place in places], 0))
        assert np.array_equal(batch.attention_mask, batch.input_ids != 0)
    assert np.array_equal(found.permutation[found.inverse], np.arange(len(texts)))


@given(lengths=st.lists(st.integers(0, 30), max_size=40), max_tokens=st.integers(1, 120))
@settings(max_examples=100, deadline=None)
def test_packed_rows_are_the_padded_ones_without_their_padding(lengths: list[int], max_tokens: int) -> None:
    texts = [words(n) for n in lengths]
    rows = rows_of(texts)
    seen = []
    for batch in encode_batches(ENCODER, texts, max_tokens=max_tokens, packed=True):
        assert isinstance(batch, PackedBatch)
        ends = batch.cu_seqlens.tolist()
        assert ends[0] == 0
        assert ends[-1] == len(batch.input_ids)
        assert len(batch.permutation) == 1 or len(batch.input_ids) <= max_tokens
        for place, (start, end) in zip(batch.permutation.tolist(), pairwise(ends), strict=True):
            assert batch.input_ids[start:end].tolist() == rows[place]
            assert batch.position_ids[start:end].tolist() == list(range(end - start))
            seen.append(place)
        assert batch.max_seqlen == max(len(rows[place]) for place in batch.permutation)
    assert sorted(seen) == list(range(len(texts)))


@pytest.mark.parametrize("torch_buffers", [False, True], ids=["numpy", "torch"])
def test_the_callers_buffers_are_written_to(torch_buffers: bool) -> None:
    texts = ["a", "b a b", "a b"]
    ids, mask = (np.full(20, 7, dtype=np.int64) for _ in range(2))
    out: Any = (torch.from_numpy(ids), torch.from_numpy(mask)) if torch_buffers else (ids, mask)
    found = encode_batches(ENCODER, texts, dtype="int64", out=out)
    (batch,) = found
    assert isinstance(batch, PaddedBatch)
    assert np.shares_memory(batch.input_ids, ids)
    assert found.tokens == 15
    assert ids.tolist() == [4, 3, 2, 3, 5, 4, 2, 3, 5, 0, 4, 2, 5, 0, 0, 7, 7, 7, 7, 7]
    assert mask[:15].tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0]


def test_tensors_share_the_memory_of_the_arrays() -> None:
    (batch,) = encode_batches(ENCODER, ["a b", "a"])
    tensors = batch.tensors()
    tensors["input_ids"][0, 0] = 99
    assert batch.input_ids[0, 0] == 99
    (packed,) = encode_batches(ENCODER, ["a b", "a"], packed=True)
    assert packed.tensors()["input_ids"].tolist() == [[4, 2, 3, 5, 4, 2, 5]]
    assert packed.tensors()["cu_seq_lens_q"].tolist() == [0, 4, 7]


READ_ONLY = np.zeros(20, dtype=np.int32)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dtype": "int8"}, ValueError, 'dtype: "int8" is not "int32" or "int64"'),
        (
            {"out": (np.zeros(3, np.int32), np.zeros(20, np.int32))},
            ValueError,
            r"out\[0\]: 3 is less room than the 8 tokens",
        ),
        (
            {"out": (np.zeros(20, np.int32), np.zeros(9, np.int64))},
            TypeError,
            r"out\[1\]: is not a one-dimensional array",
        ),
        ({"out": (READ_ONLY, np.zeros(20, np.int32))}, TypeError, r"out\[0\]: "),
        ({"out": (np.zeros(40, np.int32)[::2], np.zeros(20, np.int32))}, TypeError, r"out\[0\]: is not contiguous"),
        ({"max_tokens": 0}, ValueError, "max_tokens: 0 is less than 1"),
    ],
)
def test_a_buffer_that_does_not_fit_is_named(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        encode_batches(ENCODER, ["a b", "a"], **changes)


TEXTS = ["a b", "", "é b", "b" * 40, "a a a"]
COLUMNS: dict[str, Any] = {
    "utf8": pa.array(TEXTS),
    "large utf8": pa.array(TEXTS, pa.large_string()),
    "a slice": pa.array(["x", *TEXTS, "y"])[1:-1],
    "chunks": pa.chunked_array([TEXTS[:2], [], TEXTS[2:]]),
    "a column of a table": pa.table({"t": TEXTS})["t"],
    "objects": np.array(TEXTS, dtype=object),
    "numpy strings": np.array(TEXTS, dtype=np.dtypes.StringDType()),
    "a tuple": tuple(TEXTS),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_every_kind_of_column_is_read_like_a_list(column: Any) -> None:
    expected, found = ENCODER.encode_ids(TEXTS), ENCODER.encode_ids(column)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    assert encode_batches(ENCODER, column, max_tokens=9).permutation.tolist() == [4, 0, 2, 3, 1]
    ones = np.ones(1)
    screener = NbLogistic.from_parts(["bb"], ones, ones, ones, 0.0)
    assert np.array_equal(screener.score(column), screener.score(TEXTS))


class FromElsewhere:
    """A column of another library: it speaks the C data interface and nothing else."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> Any:
        return pa.array(TEXTS).__arrow_c_array__(requested_schema)


def test_a_column_of_another_library_comes_through_the_c_data_interface() -> None:
    assert np.array_equal(ENCODER.encode_ids(FromElsewhere())[0], ENCODER.encode_ids(TEXTS)[0])


def test_no_rows_of_a_column_make_no_batches() -> None:
    assert len(encode_batches(ENCODER, pa.array([], pa.string()))) == 0
    assert len(encode_batches(ENCODER, pa.array(["a"])[:0])) == 0


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (pa.array(["a", None]), TypeError, r"texts\[1\]: null is not a str"),
        (pa.chunked_array([["a"], ["b", None]]), TypeError, r"texts\[2\]: null is not a str"),
        (
            pa.array([1, 2]),
            ValueError,
            "texts: an Arrow array of int64 is not supported; supported: string, large_string",
        ),
        (pa.array([b"a", b"\xff"], pa.binary()).view(pa.string()), ValueError, r"texts\[1\]: is not UTF-8"),
    ],
)
def test_a_column_that_holds_no_texts_is_refused(column: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ENCODER.encode_ids(column)
