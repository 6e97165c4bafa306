"""What cannot be reproduced exactly is refused by the name of its field."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sro_screener import Encoder

WORDPIECE: dict[str, Any] = {
    "type": "WordPiece",
    "unk_token": "u",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 9,
    "vocab": {"u": 0, "a": 1},
}
BPE: dict[str, Any] = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
UNIGRAM: dict[str, Any] = {"type": "Unigram", "unk_id": 0, "vocab": [["u", 0.0], ["a", -1.0]]}
TOKEN: dict[str, Any] = {
    "id": 0,
    "content": "u",
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
FIRST = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}


def metaspace(**changes: object) -> dict[str, object]:
    return {"type": "Metaspace", "replacement": "▁", **changes}


def template(single: list[object]) -> dict[str, object]:
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}}


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "WordLevel": ({"model": {"type": "WordLevel", "vocab": {}}}, 'model.type: "WordLevel" is not supported'),
    "no kind of model": ({"model": {"vocab": {"a": 0}}}, "model.type: no type, and no fields that tell it"),
    "no model": ({"model": None}, "model: null is not a value"),
    "version": ({"version": "2.0"}, 'version: "2.0" is not supported; supported: "1.0"'),
    "dropout": ({"model": BPE | {"dropout": 0.1}}, "model.dropout: 0.1 is not supported"),
    "suffix": ({"model": BPE | {"end_of_word_suffix": "</w>"}}, 'model.end_of_word_suffix: "</w>" is not supported'),
    "prefix": ({"model": BPE | {"continuing_subword_prefix": "##"}}, 'model.continuing_subword_prefix: "##"'),
    "a merge outside the vocabulary": (
        {"model": BPE | {"merges": ["a c"]}},
        'model.merges[0]: "a c" is not made of tokens',
    ),
    "a merge of three": ({"model": BPE | {"merges": [["a", "b", "c"]]}}, "is not two tokens"),
    "an unknown token outside": (
        {"model": WORDPIECE | {"unk_token": "x"}},
        'model.unk_token: "x" is not in model.vocab',
    ),
    "no unknown id": ({"model": UNIGRAM | {"unk_id": None}}, "model.unk_id: null is not a value"),
    "an unknown id outside": ({"model": UNIGRAM | {"unk_id": 7}}, "model.unk_id: 7 is not an index into model.vocab"),
    "a score that is no number": (
        {"model": UNIGRAM | {"vocab": [["u", "x"]]}},
        'model.vocab[0][1]: "x" is not a number',
    ),
    "an id that is too large": (
        {"model": BPE | {"vocab": {"a": 2**31}}},
        'model.vocab["a"]: 2147483648 is not a token id',
    ),
    "normalizer": (
        {"normalizer": {"type": "Rot13"}},
        'normalizer.type: "Rot13" is not supported; supported: BertNormalizer',
    ),
    "nested normalizer": (
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "ByteLevel"}]}},
        'normalizer.normalizers[1].type: "ByteLevel" is not supported',
    ),
    "replace by a pattern": (
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "a+"}, "content": ""}},
        'normalizer.pattern: {"Regex":"a+"} is not supported',
    ),
    "charsmap": ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"}}, "is not base64"),
    "empty charsmap": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}},
        "is not a SentencePiece charsmap",
    ),
    "pre-tokenizer": (
        {"pre_tokenizer": {"type": "UnicodeScripts"}},
        'pre_tokenizer.type: "UnicodeScripts" is not supported',
    ),
    "punctuation behavior": (
        {"pre_tokenizer": {"type": "Punctuation", "behavior": "Removed"}},
        'pre_tokenizer.behavior: "Removed" is not supported; supported: Isolated',
    ),
    "split pattern": (
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\d+"}, "behavior": "Isolated", "invert": False}},
        "supported: the patterns of GPT-2, Llama 3 and Qwen 2",
    ),
    "first with a normalizer": (
        {"pre_tokenizer": FIRST, "normalizer": {"type": "NFC"}},
        'supported: prepend_scheme "first" without a normalizer',
    ),
    "contradicting prefix space": (
        {"pre_tokenizer": metaspace(add_prefix_space=False, prepend_scheme="always")},
        "pre_tokenizer.add_prefix_space: false is not supported",
    ),
    "long replacement": (
        {"pre_tokenizer": metaspace(replacement="__")},
        'pre_tokenizer.replacement: "__" is not one character',
    ),
    "bytes before words": (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTE_LEVEL, {"type": "WhitespaceSplit"}]}},
        "supported: ByteLevel as the last pre-tokenizer",
    ),
    "bytes without BPE": ({"pre_tokenizer": BYTE_LEVEL, "model": WORDPIECE}, "supported: BPE where the pre-tokenizer"),
    "bytes without a token": ({"pre_tokenizer": BYTE_LEVEL, "model": BPE | {"unk_token": "a"}}, 'model.unk_token: "a"'),
    "post-processor": ({"post_processor": {"type": "Magic"}}, 'post_processor.type: "Magic" is not supported'),
    "second text": (
        {"post_processor": template([{"Sequence": {"id": "B", "type_id": 0}}])},
        "supported: sequence A in a template for one text",
    ),
    "no text": (
        {"post_processor": template([])},
        "post_processor.single: [] is not supported; supported: sequence A, once",
    ),
    "special token without ids": (
        {"post_processor": template([{"SpecialToken": {"id": "[C]", "type_id": 0}}])},
        "post_processor.special_tokens.[C]: null is not a value",
    ),
    "half an added token": ({"added_tokens": [{"content": "x"}]}, "added_tokens[0].single_word: null is not a value"),
    "two tokens that match alike": (
        {
            "normalizer": {"type": "Lowercase"},
            "added_tokens": [TOKEN | {"content": c, "normalized": True} for c in "Xx"],
        },
        'added_tokens: two tokens that match "x" is not supported',
    ),
    "direction": ({"truncation": {"direction": "Up"}}, 'truncation.direction: "Up" is not Left or Right'),
}


@pytest.mark.parametrize(("changes", "message"), CASES.values(), ids=CASES)
def test_what_is_not_supported_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        Encoder.from_json(json.dumps({"version": "1.0", "model": BPE} | changes))
    assert message in str(raised.value)


def test_what_stands_in_those_cases_unchanged_loads() -> None:
    for model in (WORDPIECE, BPE, UNIGRAM):
        assert Encoder.from_json(json.dumps({"model": model, "added_tokens": [TOKEN]})).kind == model["type"]


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "null", '{"model": 3}', '{"model": {"type": 3}}'])
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Encoder.from_json(text)


def damaged(value: Any) -> Iterator[Any]:
    """The document with one value after another replaced by something else."""
    places: list[Any] | range = (
        list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    )
    for place in places:
        other: Any
        for other in (None, -1, 1.5, "", "\u0000", [], {}, True):
            yield {**value, place: other} if isinstance(value, dict) else [*value[:place], other, *value[place + 1 :]]
        for inner in damaged(value[place]):
            whole = copy.copy(value)
            whole[place] = inner
            yield whole


def test_a_damaged_file_is_refused_or_loads_but_never_panics() -> None:
    steps = [{"type": "Replace", "pattern": {"String": "a"}, "content": "b"}, {"type": "Lowercase"}]
    document = {
        "version": "1.0",
        "added_tokens": [TOKEN],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [metaspace(), {"type": "WhitespaceSplit"}]},
        "post_processor": template([{"Sequence": {"id": "A", "type_id": 0}}]),
        "model": UNIGRAM,
    }
    outcomes = set()
    for broken in damaged(document):
        try:
            Encoder.from_json(json.dumps(broken)).encode_ids(["a b", "u", "\u0000 x"])
            outcomes.add("loaded")
        except ValueError:
            outcomes.add("refused")
    assert outcomes == {"loaded", "refused"}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"missing\.json"):
        Encoder.from_file(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": 0}, "max_length: 0 is less than 1"),
        ({"max_length": -3}, "max_length: -3 is less than 1"),
        ({"truncation_side": "up"}, 'truncation_side: "up" is not "left" or "right"'),
        ({"pad_token_id": -1}, r"pad_token_id: -1 is not in \[0, 2\^31\)"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder.from_json(json.dumps({"model": BPE}), **arguments)
