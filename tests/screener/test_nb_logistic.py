"""The linear screener: scored in Rust, fitted by scikit-learn, equal to scikit-learn's own pipeline."""

import json
import math
import random
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sro_screener import NbLogistic, NbLogisticModel, NbSettings, reference
from sro_screener.fit import fit_nb_logistic, model_from_sklearn, nb_log_ratios
from sro_screener.testing import code_point_texts, generated_text

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BAD = ["fool", "idiot", "rotten", "stupid", "ΦΑΎΛΟΣ", "Blöd", "馬鹿"]
GOOD = ["friend", "thanks", "lovely", "kind", "ΦΊΛΟΣ", "Schön", "友達"]
COMMON = ["you", "are", "such", "a", "the", "very", "is", "not", "day", "It's", "naïve", "don't"]


def sentences(seed: int, marked: list[str], count: int = 300) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(COMMON + marked, k=rng.randint(2, 12))) for _ in range(count)]


TOXIC, NEUTRAL = sentences(1, BAD), sentences(2, GOOD)


def texts_to_score() -> list[str]:
    rng = random.Random(5)
    own = sentences(3, BAD + GOOD, 400)
    return [*own, *map(str.upper, own[:100]), "", " ", "!", *(generated_text(rng) for _ in range(400)), " ".join(own)]


class Pipeline:
    """scikit-learn's own classes, joined by hand."""

    def __init__(self, toxic: list[str], neutral: list[str], **settings: Any) -> None:
        self.vectorizer = TfidfVectorizer(**settings)
        features = self.vectorizer.fit_transform([*toxic, *neutral])
        is_toxic = np.array([True] * len(toxic) + [False] * len(neutral))
        self.r = nb_log_ratios(features, is_toxic)
        self.classifier = LogisticRegression(C=4.0, solver="liblinear", random_state=0)
        self.classifier.fit(features.multiply(self.r).tocsr(), is_toxic)

    def scores(self, texts: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        features = self.vectorizer.transform(texts).multiply(self.r).tocsr()
        result: np.ndarray[Any, np.dtype[np.float64]] = self.classifier.predict_proba(features)[:, 1]
        return result

    def model(self) -> NbLogisticModel:
        return model_from_sklearn(self.vectorizer, self.r, self.classifier)


SETTINGS: dict[str, dict[str, Any]] = {
    "the authors'": {
        "ngram_range": (1, 2),
        "min_df": 3,
        "max_df": 0.9,
        "strip_accents": "unicode",
        "sublinear_tf": True,
    },
    "max_df drops words and keeps their bigrams": {"ngram_range": (1, 2), "max_df": 0.3, "sublinear_tf": True},
    "bigrams only": {"ngram_range": (2, 2)},
    "up to three words": {"ngram_range": (1, 3), "sublinear_tf": True, "strip_accents": "unicode"},
    "case kept": {"lowercase": False},
    "case kept, accents stripped": {"lowercase": False, "strip_accents": "unicode"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_scores_and_verdicts_are_those_of_scikit_learn(settings: dict[str, Any]) -> None:
    pipeline = Pipeline(TOXIC, NEUTRAL, **settings)
    texts = texts_to_score()
    expected = pipeline.scores(texts)
    assert expected.min() < 0.3
    assert expected.max() > 0.7
    scores, passed = pipeline.model().verdicts(texts, threshold=0.5)
    assert np.abs(scores - expected).max() < 1e-9
    assert np.array_equal(passed, expected < 0.5)


def test_scores_are_those_of_the_readable_twin() -> None:
    model = fit_nb_logistic(TOXIC, NEUTRAL, seed=0)
    texts = texts_to_score()
    assert np.abs(model.score(texts) - reference.nb_scores(model, texts)).max() < 1e-12


@pytest.mark.skipif(not (SHARED / "dev_toxic.txt").exists(), reason="../shared/data is not there")
def test_scores_on_real_text_are_those_of_scikit_learn() -> None:
    toxic, neutral = (
        (SHARED / f"dev_{name}.txt").read_text(encoding="utf-8").splitlines() for name in ("toxic", "normal")
    )
    pipeline = Pipeline(toxic[::2], neutral[::2], **SETTINGS["the authors'"])
    texts = [*toxic[1::2], *neutral[1::2], *(SHARED / "wagahai.txt").read_text(encoding="utf-8").splitlines()[:500]]
    expected = pipeline.scores(texts)
    scores, passed = pipeline.model().verdicts(texts)
    assert np.abs(scores - expected).max() < 1e-9
    assert np.array_equal(passed, expected < 0.5)


def screener_of_words(words: list[str], settings: NbSettings) -> NbLogistic:
    """Each word has a weight of its own, so that the score tells which one was found."""
    ones = np.ones(len(words))
    options: dict[str, Any] = {
        "ngram_range": settings.ngram_range,
        "lowercase": settings.lowercase,
        "strip_accents": settings.strip_accents,
    }
    return NbLogistic.from_parts(words, ones, ones, np.linspace(1, 4, len(words)), 0.1, **options)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the tables are those of Python 3.11 (Unicode 14)")
@pytest.mark.parametrize("strip_accents", ["unicode", None])
def test_every_code_point_is_lowered_stripped_and_cut_as_python_does(strip_accents: Any) -> None:
    settings = NbSettings(ngram_range=(1, 1), strip_accents=strip_accents)
    texts = [text + " aΣ. " + text[:40] for text in code_point_texts(["aΣ{0}b {0}{0}x"])]
    for start in range(0, len(texts), 2000):
        chunk = texts[start : start + 2000]
        vocabulary = sorted({word for text in chunk for word in reference.words(text, settings)})
        model = NbLogisticModel(
            vocabulary=tuple(vocabulary),
            idf=np.ones(len(vocabulary)),
            r=np.ones(len(vocabulary)),
            coef=np.linspace(-4, 4, len(vocabulary)),
            intercept=0.1,
            settings=settings,
        )
        assert np.abs(model.score(chunk) - reference.nb_scores(model, chunk)).max() < 1e-12


@pytest.mark.parametrize(
    "text", ["ΟΔΟΣ", "ΑΣ'Α ΑΣ.Α", "AΣ\u0301", "ΣΣ ΣΑ", "İstanbul", "Å ﬁ ½x ²a", "한국어 가나", "a\u0345Σ bΣ"]
)
def test_the_traps_of_lower_case_and_accents_are_pythons(text: str) -> None:
    lowered = text.lower()
    stripped = "".join(c for c in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(c))
    words = re.findall(r"(?u)\b\w\w+\b", stripped)
    assert words
    screener = screener_of_words(sorted(set(words)), NbSettings(ngram_range=(1, 1)))
    assert screener.score([text])[0] == screener.score([" ".join(words)])[0] != pytest.approx(screener.score([""])[0])


def test_the_score_is_the_one_computed_by_hand() -> None:
    idf, r, coef = np.array([2.0, 3.0]), np.array([0.5, -1.0]), np.array([4.0, 1.0])
    screener = NbLogistic.from_parts(["bad", "bad dog"], idf, r, coef, -0.5)
    t = 1 + math.log(2)
    logit = -0.5 + (t * 2 * 2.0 + 1 * 3 * -1.0) / math.sqrt((t * 2) ** 2 + 3**2)
    assert screener.score(["Bad dog, bad"])[0] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-15)
    assert screener.weights.tolist() == [2.0, -1.0]
    assert len(screener) == 2


def test_a_score_at_the_threshold_fails() -> None:
    screener = NbLogistic.from_parts(["xx"], np.ones(1), np.ones(1), np.ones(1), 0.0)
    scores, passed = screener.verdicts(["nothing known", "xx"], 0.5)
    assert (scores[0], passed.tolist()) == (0.5, [False, False])
    assert screener.verdicts(["nothing known"], 0.5000001)[1].tolist() == [True]


def test_the_most_toxic_words_come_first_with_their_weights() -> None:
    model = fit_nb_logistic(TOXIC, NEUTRAL, seed=0)
    found = model.toxic_words(4)
    assert {word for word, _ in found} <= {"fool", "idiot", "rotten", "stupid", "φαυλος", "blod", "馬鹿"}
    assert [weight for _, weight in found] == sorted((weight for _, weight in found), reverse=True)
    index = model.vocabulary.index(found[0].word)
    assert found[0].weight == model.coef[index] * model.r[index]
    heaviest = found[0].weight
    assert model.toxic_words(100, min_weight=heaviest) == []
    assert all(" " not in word for word, _ in model.toxic_words(10_000, min_weight=-math.inf))


def test_a_saved_model_scores_the_same(tmp_path: Path) -> None:
    model = fit_nb_logistic(TOXIC, NEUTRAL, ngram_range=(1, 3), sublinear_tf=False, strip_accents=None, seed=0)
    model.save(tmp_path / "screener.json")
    loaded = NbLogisticModel.load(tmp_path / "screener.json")
    assert loaded.settings == model.settings
    assert loaded.vocabulary == model.vocabulary
    assert np.array_equal(loaded.score(TOXIC), model.score(TOXIC))
    assert [path.name for path in tmp_path.iterdir()] == ["screener.json"]


def test_fitting_twice_gives_the_same_model() -> None:
    first, second = (fit_nb_logistic(TOXIC, NEUTRAL, seed=7) for _ in range(2))
    assert np.array_equal(first.coef, second.coef)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "x"}, "format: is not 'sro-nb-logistic'"),
        ({"version": 9}, "version: 9 is not 1"),
        ({"idf": None}, "idf: is not a list of numbers|idf: has 0 dimensions"),
        ({"idf": [1.0]}, "idf: 1 values are not one for each of"),
        ({"coef": ["x"]}, "coef: is not a list of numbers"),
        ({"settings": {}}, "settings: {} does not have exactly"),
        ({"vocabulary": [1, 2]}, r"texts\[0\]: int is not a str|vocabulary"),
    ],
)
def test_a_damaged_model_file_is_refused_by_path_and_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "screener.json"
    fit_nb_logistic(TOXIC, NEUTRAL, seed=0).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=message) as raised:
        NbLogisticModel.load(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "l1"},
        {"use_idf": False},
        {"binary": True},
        {"analyzer": "char"},
        {"token_pattern": r"\w+"},
        {"stop_words": ["a"]},
    ],
    ids=str,
)
def test_a_vectorizer_with_another_setting_is_refused_by_its_name(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}: .* is not supported"):
        Pipeline(TOXIC, NEUTRAL, **settings).model()


def test_accents_stripped_to_ascii_are_refused() -> None:
    with pytest.raises(ValueError, match="strip_accents: 'ascii' is not supported"):
        Pipeline(TOXIC, NEUTRAL, strip_accents="ascii").model()


def test_a_side_without_texts_is_named() -> None:
    with pytest.raises(ValueError, match="toxic: has no text to learn from"):
        fit_nb_logistic([], NEUTRAL)
    with pytest.raises(ValueError, match="neutral: has no text to learn from"):
        fit_nb_logistic(TOXIC, [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"idf": np.ones(1)}, "idf: 1 values are not one for each of 2 n-grams"),
        ({"r": np.array([1.0, np.nan])}, r"r\[1\]: NaN is not finite"),
        ({"intercept": np.inf}, "intercept: inf is not finite"),
        ({"vocabulary": ["aa", "aa"]}, r'vocabulary\[1\]: "aa" is there twice'),
        ({"vocabulary": ["aa", "aa bb cc"]}, r"vocabulary\[1\]: .* is not 1 to 2 words"),
        ({"vocabulary": ["aa", ""]}, r"vocabulary\[1\]: .* is not 1 to 2 words"),
        ({"ngram_range": (2, 1)}, r"ngram_range: \(2, 1\) is not ascending from 1 on"),
        ({"ngram_range": (0, 1)}, r"ngram_range\[0\]: 0 is less than 1"),
        ({"strip_accents": "ascii"}, 'strip_accents: "ascii" is not supported; supported: unicode, None'),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    ones = np.ones(2)
    parts: dict[str, Any] = {"vocabulary": ["aa", "bb"], "idf": ones, "r": ones, "coef": ones, "intercept": 0.0}
    with pytest.raises(ValueError, match=message):
        NbLogistic.from_parts(**{**parts, **changes})
