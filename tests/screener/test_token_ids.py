"""Token ids equal those of Hugging Face tokenizers; benchmarks/screener/exactness.py compares all there is."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer, processors

from sro_screener import Encoder
from sro_screener.testing import code_point_texts, generated_text, hostile_texts

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def encoder_of(reference: Tokenizer, max_length: int | None = None) -> Encoder:
    return Encoder.from_json(reference.to_str(), max_length)


def rows(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    ids, offsets = encoder.encode_ids(texts)
    return [ids[start:end].tolist() for start, end in pairwise(offsets)]


def first_difference(
    reference: Tokenizer, encoder: Encoder, texts: list[str]
) -> tuple[str, list[int], list[int]] | None:
    found = rows(encoder, texts)
    expected = [encoding.ids for encoding in reference.encode_batch_fast(texts)]
    return next(((t[:200], a, b) for t, a, b in zip(texts, found, expected, strict=True) if a != b), None)


def plain(path: Path) -> Tokenizer:
    reference = Tokenizer.from_file(str(path))
    reference.no_padding()
    reference.no_truncation()
    return reference


def generated(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [generated_text(rng) for _ in range(count)]


def test_generated_texts_have_the_reference_ids(trained: Tokenizer) -> None:
    assert first_difference(trained, encoder_of(trained), generated(1500, seed=0)) is None


@pytest.mark.parametrize("letters", ["a", "etaoinshrdlu", "0123456789", "!?", "éab", "語か", " a"])
def test_huge_words_have_the_reference_ids(trained: Tokenizer, letters: str) -> None:
    rng = random.Random(letters)
    # Around the length from which on merges are swept rank by rank.
    texts = ["".join(rng.choices(letters, k=length)) for length in (2040, 4090, 4100, 9000)]
    assert first_difference(trained, encoder_of(trained), texts) is None


def test_an_eighth_of_all_code_points_has_the_reference_ids(trained: Tokenizer) -> None:
    assert first_difference(trained, encoder_of(trained), code_point_texts(["É{0}b {0}{0}x"])[::8]) is None


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("max_length", [2, 3, 7, 40])
def test_truncated_texts_have_the_reference_ids(trained: Tokenizer, max_length: int, side: str) -> None:
    reference = Tokenizer.from_str(trained.to_str())
    reference.enable_truncation(max_length, direction=side)
    encoder = Encoder.from_json(reference.to_str(), max_length)
    assert encoder.truncation_side == side
    assert first_difference(reference, encoder, generated(300, seed=max_length)) is None


def test_published_tokenizers_give_the_reference_ids_on_generated_texts(published: Path) -> None:
    assert first_difference(plain(published), Encoder.from_file(published, None), generated(2000, seed=3)) is None


def test_published_tokenizers_give_the_reference_ids_on_a_quarter_of_all_code_points(published: Path) -> None:
    texts = code_point_texts(["É{0}b {0}{0}x"])[::4]
    assert first_difference(plain(published), Encoder.from_file(published, None), texts) is None


def lines_of(name: str) -> list[str]:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


TEXT_FILES = ["paradetox.tsv", "jigsaw_toxic.csv", "dev_toxic.txt", "dev_normal.txt", "wagahai.txt"]


@pytest.mark.parametrize("name", TEXT_FILES)
def test_published_tokenizers_give_the_reference_ids_on_every_tenth_line(published: Path, name: str) -> None:
    assert first_difference(plain(published), Encoder.from_file(published, None), lines_of(name)[::10]) is None


def test_arguments_win_over_truncation_and_padding_in_the_file(published: Path) -> None:
    reference = plain(published)
    reference.enable_truncation(9)
    encoder = Encoder.from_file(published, 9)
    assert first_difference(reference, encoder, ["one two three four five six seven eight nine ten", "one", ""]) is None


def test_blank_texts_and_texts_of_100_kb_have_the_reference_ids(trained: Tokenizer) -> None:
    assert first_difference(trained, encoder_of(trained), hostile_texts()) is None


def test_an_id_from_the_file_that_the_reference_ignores_is_ignored(uncased: Tokenizer) -> None:
    document = json.loads(uncased.to_str())
    document["added_tokens"].append(dict(document["added_tokens"][0], content="<new>", id=9999))
    reference = Tokenizer.from_str(json.dumps(document))
    assert reference.encode("<new>").ids[1] != 9999
    assert first_difference(reference, encoder_of(reference), ["a <new> b"]) is None


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_legacy_file_without_a_model_type_is_told_by_its_fields(kind: str) -> None:
    models = {
        "wordpiece": {
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 10,
            "vocab": {"[UNK]": 0, "a": 1, "##b": 2},
        },
        "bpe": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "unigram": {"unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["ab", -3.0], ["b", -2.0]]},
    }
    document = json.dumps({"version": "1.0", "added_tokens": [], "model": models[kind]})
    reference = Tokenizer.from_str(document)
    assert first_difference(reference, Encoder.from_json(document, None), ["ab", "abab", "a", "abz", "zz"]) is None


def test_of_two_equal_covers_the_one_found_first_counts() -> None:
    vocab = [["<unk>", 0.0], ["a", -1.0], ["b", -1.0], ["c", -1.0], ["ab", -2.0], ["bc", -2.0], ["abc", -3.0]]
    document = json.dumps({"version": "1.0", "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab}})
    texts = ["abc", "abcabc", "bcab", "cabc", "aabbcc"]
    assert first_difference(Tokenizer.from_str(document), Encoder.from_json(document, None), texts) is None


def pair_rows(encoder: Encoder, pairs: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    ids, segments, offsets = encoder.encode_pair_ids([a for a, _ in pairs], [b for _, b in pairs])
    return [(ids[start:end].tolist(), segments[start:end].tolist()) for start, end in pairwise(offsets)]


def pairs_of(count: int, seed: int) -> list[tuple[str, str]]:
    texts = generated(2 * count, seed)
    return [("", ""), ("a", ""), *zip(texts[::2], texts[1::2], strict=True)]


@pytest.mark.parametrize("max_length", [None, 4, 5, 9, 30])
def test_pairs_have_the_reference_ids_and_segments(trained: Tokenizer, max_length: int | None) -> None:
    reference = Tokenizer.from_str(trained.to_str())
    if max_length is not None:
        reference.enable_truncation(max_length)
    pairs = pairs_of(150, seed=5)
    expected = [(encoding.ids, encoding.type_ids) for encoding in reference.encode_batch(pairs)]
    assert pair_rows(Encoder.from_json(reference.to_str(), max_length), pairs) == expected


@pytest.mark.parametrize("kind", ["BertProcessing", "RobertaProcessing"])
@pytest.mark.parametrize("max_length", [None, 7])
def test_pairs_are_joined_as_bert_and_roberta_do(uncased: Tokenizer, kind: str, max_length: int | None) -> None:
    reference = Tokenizer.from_str(uncased.to_str())
    reference.post_processor = getattr(processors, kind)(("[SEP]", 3), ("[CLS]", 2))
    if max_length is not None:
        reference.enable_truncation(max_length, direction="left")
    pairs = pairs_of(50, seed=6)
    expected = [(encoding.ids, encoding.type_ids) for encoding in reference.encode_batch(pairs)]
    assert pair_rows(Encoder.from_json(reference.to_str(), max_length), pairs) == expected


def test_a_pair_that_cannot_be_made_is_refused_by_name(uncased: Tokenizer) -> None:
    with pytest.raises(ValueError, match="second: has 2 texts, and first has 1"):
        encoder_of(uncased).encode_pair_ids(["a"], ["b", "c"])
    document = json.loads(uncased.to_str())
    document["post_processor"]["pair"] = []
    with pytest.raises(ValueError, match=r"post_processor\.pair: 0 times A and 0 times B is not supported"):
        Encoder.from_json(json.dumps(document)).encode_pair_ids(["a"], ["b"])
    reference = Tokenizer.from_str(uncased.to_str())
    reference.enable_truncation(9, strategy="only_first")
    with pytest.raises(ValueError, match=r"truncation\.strategy: OnlyFirst is not supported; supported: LongestFirst"):
        encoder_of(reference).encode_pair_ids(["a"], ["b"])


def test_of_a_vocabulary_only_what_merges_can_reach_is_one_token() -> None:
    vocab = {"a": 0, "b": 1, "c": 2, "bc": 3, "abc": 4, "ab": 5}
    model = {"type": "BPE", "vocab": vocab, "merges": [["b", "c"], ["a", "b"]]}
    document = json.dumps({"version": "1.0", "added_tokens": [], "model": model})
    assert (
        first_difference(Tokenizer.from_str(document), Encoder.from_json(document, None), ["abc", "ab", "bc"]) is None
    )
    assert rows(Encoder.from_json(document, None), ["abc"]) == [[0, 3]]
