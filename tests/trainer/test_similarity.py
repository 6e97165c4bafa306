"""Cosines of mean-pooled embeddings, against the model run one text at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from sro_api.sources import Roots
from sro_api.training import SimilaritySpec
from sro_trainer import similarity
from sro_trainer.errors import DataError
from sro_trainer.similarity import SimilarityEncoder, build_encoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "rain", "train", "is", "late", "again", "cold"]
TEXTS = [
    "the rain is cold",
    "the train is late again and again and again",
    "cold",
    "",
    "the the the the the the the the the",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(1)
    config = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=32, initializer_range=0.8)  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def encoder_of(folder: Path, *, max_tokens: int = 32) -> SimilarityEncoder:
    spec = SimilaritySpec(model=f"file://{folder}", max_tokens=max_tokens)
    return build_encoder(spec, Roots(inputs=folder, outputs=folder))


def by_hand(folder: Path, text: str, *, max_tokens: int) -> Any:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    model = BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]
    mean = states.mean(dim=0).numpy()
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("max_tokens", [6, 32])
def test_embeddings_are_those_of_each_text_alone(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, max_tokens: int
) -> None:
    monkeypatch.setattr(similarity, "BATCH_TOKENS", 24)
    expected = np.stack([by_hand(checkpoint, text, max_tokens=max_tokens) for text in TEXTS])
    assert encoder_of(checkpoint, max_tokens=max_tokens).embed(TEXTS) == pytest.approx(expected, abs=1e-6)


def test_similarity_is_the_cosine_of_texts_at_the_same_place(checkpoint: Path) -> None:
    first, second = TEXTS, TEXTS[::-1]
    vectors = {text: by_hand(checkpoint, text, max_tokens=32) for text in TEXTS}
    expected = [float(vectors[a] @ vectors[b]) for a, b in zip(first, second, strict=True)]
    assert encoder_of(checkpoint).similarity(first, second) == pytest.approx(expected, abs=1e-6)


def test_a_text_is_wholly_similar_to_itself(checkpoint: Path) -> None:
    found = encoder_of(checkpoint).similarity(TEXTS, TEXTS)
    assert found == pytest.approx([1.0] * len(TEXTS), abs=1e-6)
    assert found.max() <= 1.0


def test_no_texts_have_no_similarity(checkpoint: Path) -> None:
    assert encoder_of(checkpoint).similarity([], []).shape == (0,)


class Counting:
    """Stands before the tokenizer and counts the texts that it is given."""

    def __init__(self, encoder: object) -> None:
        self._encoder = encoder
        self.read: list[str] = []

    def encode(self, texts: list[str], max_tokens: int) -> object:
        self.read += texts
        return self._encoder.encode(texts, max_tokens=max_tokens)  # type: ignore[attr-defined]


def counted(folder: Path) -> tuple[SimilarityEncoder, Counting]:
    encoder = encoder_of(folder)
    counting = Counting(encoder._encoder)
    encoder._encoder = counting  # type: ignore[assignment]
    return encoder, counting


def test_a_text_is_read_once(checkpoint: Path) -> None:
    encoder, counting = counted(checkpoint)
    first = encoder.similarity(["cold", "cold"], ["rain", "late"])
    second = encoder.similarity(["cold", "cold"], ["rain", "late"])
    assert counting.read == ["cold", "rain", "late"]
    assert first.tolist() == second.tolist()


def test_what_was_not_asked_for_lately_is_forgotten(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "REMEMBERED", 2)
    encoder, counting = counted(checkpoint)
    encoder.embed(["cold", "rain"])
    encoder.embed(["cold"])
    encoder.embed(["late"])
    encoder.embed(["cold", "rain"])
    assert counting.read == ["cold", "rain", "late", "rain"]


def test_more_texts_than_are_remembered_are_all_embedded(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoder_of(checkpoint).embed(TEXTS)
    monkeypatch.setattr(similarity, "REMEMBERED", 2)
    encoder = encoder_of(checkpoint)
    encoder.embed(TEXTS[:1])
    assert encoder.embed(TEXTS) == pytest.approx(whole, abs=1e-6)


def test_a_folder_that_holds_no_encoder_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    with pytest.raises(DataError, match=r"spec\.guards\.similarity\.model: .* is no encoder"):
        encoder_of(tmp_path)
