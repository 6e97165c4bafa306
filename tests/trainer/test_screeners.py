"""Screeners of every kind, against what the libraries behind them say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification

from sro_api.sources import Roots
from sro_api.training import HeldOutScreenerSpec, ScreenerSpec
from sro_trainer.data import Datasets
from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.onnx_forward import _export
from sro_trainer.screeners import ProfanityCheckScreener, build_screener

TOXIC = tuple(
    f"you are {word} and wrong about the {thing}"
    for word in ("an idiot", "a moron", "dumb")
    for thing in ("rain", "train", "game")
)
NEUTRAL = tuple(
    f"we were {word} about the {thing}" for word in ("happy", "right", "sad") for thing in ("rain", "train", "game")
)


def datasets_of(**fields: Any) -> Datasets:
    values: dict[str, Any] = {
        "leader_toxic": ("x",), "screener_toxic": TOXIC, "neutral": NEUTRAL, "evaluation": (), "fingerprint": "", "counts": {},
    }  # fmt: skip
    return Datasets(**(values | fields))


def roots(folder: Path) -> Roots:
    return Roots(inputs=folder, outputs=folder)


def test_a_fitted_screener_tells_toxic_from_neutral(tmp_path: Path) -> None:
    screener = build_screener(ScreenerSpec(), datasets_of(), roots(tmp_path))
    assert screener.verdicts(TOXIC).passed.tolist() == [False] * len(TOXIC)
    assert screener.verdicts(NEUTRAL).passed.tolist() == [True] * len(NEUTRAL)


def test_its_scores_are_those_of_scikit_learn(tmp_path: Path) -> None:
    screener = build_screener(ScreenerSpec(), datasets_of(), roots(tmp_path))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_df=0.9, sublinear_tf=True, strip_accents="unicode")
    features = vectorizer.fit_transform([*TOXIC, *NEUTRAL]).toarray()
    labels = np.array([1] * len(TOXIC) + [0] * len(NEUTRAL))
    shares = [(features[labels == label].sum(axis=0) + 1) / ((labels == label).sum() + 1) for label in (1, 0)]
    r = np.log(shares[0] / shares[1])
    classifier = LogisticRegression(C=4.0, solver="liblinear", random_state=0).fit(features * r, labels)
    texts = ["You are an IDIOT", "happy about the game", "unknown words only", ""]
    expected = classifier.predict_proba(vectorizer.transform(texts).toarray() * r)[:, 1]
    assert screener.verdicts(texts).scores == pytest.approx(expected, abs=1e-6)


def test_the_most_toxic_words_come_first_and_are_single_words(tmp_path: Path) -> None:
    words = build_screener(ScreenerSpec(), datasets_of(), roots(tmp_path)).toxic_words(8)
    assert {"idiot", "moron", "dumb"} <= set(words)
    assert not any(" " in word for word in words)


@pytest.mark.parametrize(("threshold", "passed"), [(1e-9, False), (1.0, True)])
def test_a_score_at_or_above_the_threshold_fails(tmp_path: Path, threshold: float, passed: bool) -> None:
    screener = build_screener(ScreenerSpec(threshold=threshold), datasets_of(), roots(tmp_path))
    assert screener.verdicts(["idiot"]).passed.tolist() == [passed]


def test_what_was_fitted_once_is_loaded_from_then_on(tmp_path: Path) -> None:
    first = build_screener(ScreenerSpec(), datasets_of(), roots(tmp_path), cache=tmp_path / "cache")
    assert (tmp_path / "cache" / "screener.json").is_file()
    other = datasets_of(screener_toxic=NEUTRAL, neutral=TOXIC)
    again = build_screener(ScreenerSpec(), other, roots(tmp_path), cache=tmp_path / "cache")
    assert again.verdicts(TOXIC).scores.tolist() == first.verdicts(TOXIC).scores.tolist()


def test_a_fitted_screener_can_be_loaded_by_another_job(tmp_path: Path) -> None:
    first = build_screener(ScreenerSpec(), datasets_of(), roots(tmp_path), cache=tmp_path)
    again = build_screener(ScreenerSpec(model="file:screener.json"), datasets_of(screener_toxic=()), roots(tmp_path))
    assert again.verdicts(TOXIC).scores.tolist() == first.verdicts(TOXIC).scores.tolist()


def test_a_file_that_is_no_screener_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(DataError, match=r"spec\.screener\.model: .*s\.json is no fitted screener"):
        build_screener(ScreenerSpec(model="file:s.json"), datasets_of(), roots(tmp_path))


def test_a_fit_on_given_rows_leaves_out_those_that_are_measured(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("\n".join([*TOXIC, "secretword secretword"]))
    (tmp_path / "n.txt").write_text("\n".join(NEUTRAL))
    fit = {"toxic": {"uri": "file:t.txt"}, "neutral": {"uri": "file:n.txt"}, "minDocumentFrequency": 1}
    spec = HeldOutScreenerSpec.model_validate({"type": "NBLogistic", "fit": fit})
    words = build_screener(spec, datasets_of(evaluation=("secretword secretword",)), roots(tmp_path)).toxic_words(1000)
    assert "idiot" in words
    assert "secretword" not in words


def test_too_little_text_to_fit_is_said_with_the_field(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"spec\.screener\.fit: "):
        build_screener(ScreenerSpec(), datasets_of(screener_toxic=("a b",), neutral=("c d",)), roots(tmp_path))


class OneInThree:
    """A vectorizer that counts letters, and a classifier that takes them for a score."""

    def transform(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]

    def predict_proba(self, lengths: list[int]) -> Any:
        return np.array([[1 - length / 10, length / 10] for length in lengths])


def test_profanity_check_reads_the_second_column() -> None:
    screener = ProfanityCheckScreener(vectorizer=OneInThree(), classifier=OneInThree(), threshold=0.5)
    found = screener.verdicts(["abcd", "abcde", "abcdef"])
    assert found.scores == pytest.approx([0.4, 0.5, 0.6])
    assert found.passed.tolist() == [True, False, False]


def test_profanity_check_gives_no_words_to_corrupt_with() -> None:
    with pytest.raises(ConfigurationError, match="ProfanityCheck has no word weights"):
        ProfanityCheckScreener(vectorizer=OneInThree(), classifier=OneInThree(), threshold=0.5).toxic_words(3)


def test_the_profanity_check_of_the_package_knows_an_insult(tmp_path: Path) -> None:
    pytest.importorskip("profanity_check", reason="the package alt-profanity-check is not installed")
    screener = build_screener(HeldOutScreenerSpec(), datasets_of(), roots(tmp_path))
    assert screener.verdicts(["you are an idiot", "see you on monday"]).passed.tolist() == [False, True]


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "you", "are", "an", "idiot", "we", "meet", "again"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with three labels and a word-piece tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=32, num_labels=3, initializer_range=0.8)  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


TEXTS = ["you are an idiot", "we meet again", "idiot", "we we we we we we we we we we", "unheard of words"]


def neural(folder: Path, **fields: Any) -> ScreenerSpec:
    values = {"type": "SequenceClassifier", "model": f"file://{folder}", "labelIndex": 2, "batchTokens": 16}
    return ScreenerSpec.model_validate(values | fields)


def by_hand(folder: Path, text: str, *, activation: str, max_tokens: int) -> float:
    """One text at a time, by the libraries alone."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokenizer.encode(text).ids])).logits[0]
    return float(logits.softmax(-1)[2] if activation == "softmax" else logits.sigmoid()[2])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("max_tokens", [5, 32])
def test_a_network_scores_as_the_libraries_do_one_text_at_a_time(
    checkpoint: Path, activation: str, max_tokens: int
) -> None:
    screener = build_screener(
        neural(checkpoint, activation=activation, maxTokens=max_tokens), datasets_of(), roots(checkpoint)
    )
    expected = [by_hand(checkpoint, text, activation=activation, max_tokens=max_tokens) for text in TEXTS]
    found = screener.verdicts(TEXTS)
    assert found.scores == pytest.approx(expected, abs=1e-6)
    assert found.passed.tolist() == [score < 0.5 for score in expected]
    assert max(expected) - min(expected) > 0.05


@pytest.mark.parametrize(("runtime", "tolerance", "num_graphs"), [("Onnx", 1e-5, 1), ("OnnxInt8", 0.08, 2)])
def test_another_runtime_scores_nearly_as_torch_does_and_says_how_nearly(
    checkpoint: Path, tmp_path: Path, runtime: str, tolerance: float, num_graphs: int
) -> None:
    plain = build_screener(neural(checkpoint), datasets_of(), roots(checkpoint)).verdicts(TEXTS)
    rows = datasets_of(evaluation=tuple(TEXTS), neutral=tuple(reversed(TEXTS)))
    screener = build_screener(neural(checkpoint, runtime=runtime), rows, roots(checkpoint), cache=tmp_path)
    assert screener.verdicts(TEXTS).scores == pytest.approx(plain.scores, abs=tolerance)
    assert f"{runtime}: 100.00% of 10 verdicts as in float32" in screener.describe()
    graphs = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.onnx")}
    assert len(graphs) == num_graphs
    again = build_screener(neural(checkpoint, runtime=runtime), rows, roots(checkpoint), cache=tmp_path)
    assert np.array_equal(again.verdicts(TEXTS).scores, screener.verdicts(TEXTS).scores)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.onnx")} == graphs


@pytest.mark.parametrize("runtime", ["Onnx", "OnnxInt8"])
def test_a_float32_graph_whose_verdicts_are_others_is_refused(checkpoint: Path, tmp_path: Path, runtime: str) -> None:
    build_screener(neural(checkpoint, runtime=runtime), datasets_of(), roots(checkpoint), cache=tmp_path)
    (graph,) = tmp_path.glob("*-float32-*.onnx")
    torch.manual_seed(5)
    model = BertForSequenceClassification(BertConfig.from_pretrained(checkpoint, initializer_range=3.0))
    _export(model.eval(), graph)
    rows = datasets_of(evaluation=tuple(TEXTS), neutral=tuple(reversed(TEXTS)))
    with pytest.raises(
        ConfigurationError, match=rf"^spec\.screener\.runtime: {runtime} gives .* verdicts as in float32"
    ):
        build_screener(neural(checkpoint, runtime=runtime), rows, roots(checkpoint), cache=tmp_path)


def test_in_eight_bits_a_text_near_the_threshold_is_read_again_in_float32(checkpoint: Path, tmp_path: Path) -> None:
    rows = datasets_of(evaluation=tuple(TEXTS), neutral=tuple(reversed(TEXTS)))
    plain = build_screener(neural(checkpoint), rows, roots(checkpoint)).verdicts(TEXTS).scores
    # Beside the score, not at it: there the last bit, which differs between processors, would decide.
    spec = neural(checkpoint, runtime="OnnxInt8", threshold=float(plain[2]) + 1e-4)
    found = build_screener(spec, rows, roots(checkpoint), cache=tmp_path).verdicts(TEXTS).scores
    close = np.abs(found - plain) < 1e-6
    assert close[2]
    assert not close.all()


def test_eight_bits_that_leave_most_texts_in_doubt_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    rows = datasets_of(evaluation=tuple(TEXTS), neutral=tuple(reversed(TEXTS)))
    build_screener(neural(checkpoint, runtime="OnnxInt8"), rows, roots(checkpoint), cache=tmp_path)
    (graph,) = tmp_path.glob("*-int8-*.onnx")
    torch.manual_seed(5)
    model = BertForSequenceClassification(BertConfig.from_pretrained(checkpoint, initializer_range=3.0))
    _export(model.eval(), graph)
    with pytest.raises(
        ConfigurationError, match=r"^spec\.screener\.runtime: OnnxInt8 errs so far that 100% of 10 texts"
    ):
        build_screener(neural(checkpoint, runtime="OnnxInt8"), rows, roots(checkpoint), cache=tmp_path)


def test_without_a_number_of_batch_tokens_one_is_measured_and_kept(checkpoint: Path, tmp_path: Path) -> None:
    spec = neural(checkpoint, batchTokens=None)
    found = build_screener(spec, datasets_of(), roots(checkpoint), cache=tmp_path).verdicts(TEXTS)
    (kept,) = tmp_path.glob("*.json")
    assert kept.name == "screener-Torch-batch-tokens.json"
    assert json.loads(kept.read_text())["batchTokens"] >= 128
    fixed = build_screener(neural(checkpoint), datasets_of(), roots(checkpoint)).verdicts(TEXTS)
    assert found.scores == pytest.approx(fixed.scores, abs=1e-6)


def test_a_logit_that_is_no_number_is_an_error_that_names_the_text(checkpoint: Path) -> None:
    screener = build_screener(neural(checkpoint), datasets_of(), roots(checkpoint))
    forward = screener._forward  # type: ignore[attr-defined]

    def spoilt(input_ids: Any, attention_mask: Any) -> Any:
        logits = forward(input_ids, attention_mask)
        logits[(input_ids == WORDS.index("idiot")).any(axis=1), 1] = np.nan
        return logits

    screener._forward = spoilt  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"logits\[2, 1\]: NaN is not finite"):
        screener.verdicts(["we meet", "again", "an idiot", "you"])


def test_no_texts_get_no_verdicts(checkpoint: Path) -> None:
    assert build_screener(neural(checkpoint), datasets_of(), roots(checkpoint)).verdicts([]).scores.shape == (0,)


def test_a_label_that_the_network_does_not_have_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^spec\.screener\.labelIndex: 5 is not below 3$"):
        build_screener(neural(checkpoint, labelIndex=5), datasets_of(), roots(checkpoint))


def test_a_tokenizer_that_is_not_supported_is_refused_with_the_reason(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}}')
    with pytest.raises(ConfigurationError, match=r"spec\.screener\.model: its tokenizer\.json is not supported: "):
        build_screener(neural(tmp_path), datasets_of(), roots(tmp_path))


def test_a_folder_without_a_tokenizer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    with pytest.raises(DataError, match=r"has no tokenizer\.json"):
        build_screener(neural(tmp_path), datasets_of(), roots(tmp_path))


def test_a_network_gives_no_words_to_corrupt_with(checkpoint: Path) -> None:
    with pytest.raises(ConfigurationError, match="SequenceClassifier has no word weights"):
        build_screener(neural(checkpoint), datasets_of(), roots(checkpoint)).toxic_words(3)


def test_every_screener_says_what_it_is(checkpoint: Path, tmp_path: Path) -> None:
    assert build_screener(ScreenerSpec(), datasets_of(), roots(tmp_path)).describe().startswith("NBLogistic with ")
    text = build_screener(neural(checkpoint), datasets_of(), roots(tmp_path)).describe()
    assert text == f"SequenceClassifier file://{checkpoint}, label 2, threshold 0.5"
