"""Fitting the linear screener with scikit-learn, which nothing else here needs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sro_screener.model import NbLogisticModel, NbSettings

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

# What the scorer computes; a vectorizer fitted with anything else is refused by the setting's name.
REQUIRED_SETTINGS: dict[str, Any] = {
    "analyzer": "word",
    "token_pattern": r"(?u)\b\w\w+\b",
    "norm": "l2",
    "use_idf": True,
    "binary": False,
    "stop_words": None,
    "preprocessor": None,
    "tokenizer": None,
}


def fit_nb_logistic(
    toxic: Sequence[str],
    neutral: Sequence[str],
    *,
    ngram_range: tuple[int, int] = (1, 2),
    min_df: int | float = 3,
    max_df: int | float = 0.9,
    sublinear_tf: bool = True,
    strip_accents: str | None = "unicode",
    C: float = 4.0,  # noqa: N803 - scikit-learn's name
    seed: int = 0,
) -> NbLogisticModel:
    """Fit TF-IDF, naive Bayes log-ratios and a logistic regression that tells toxic texts from neutral ones.

    Args:
        toxic: toxic texts, at least one.
        neutral: neutral texts, at least one; they need not be rewrites of the toxic ones.
        ngram_range: least and most words of an n-gram.
        min_df: n-grams in fewer texts are dropped (a count, or a share of the texts).
        max_df: n-grams in more texts are dropped (a count, or a share of the texts).
        sublinear_tf: 1 + ln(count) instead of the count.
        strip_accents: `unicode` or None.
        C: inverse strength of the L2 penalty, > 0.
        seed: of the solver.

    Raises:
        ValueError: one side has no text, or no n-gram is left.
        ImportError: scikit-learn is not installed.

    See:
        Wang and Manning, Baselines and Bigrams (ACL 2012); the defaults are those of XXXinhong/Detoxification_LLM.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    for name, texts in {"toxic": toxic, "neutral": neutral}.items():
        if not texts:
            raise ValueError(f"{name}: has no text to learn from")
    vectorizer = TfidfVectorizer(
        ngram_range=ngram_range, min_df=min_df, max_df=max_df, sublinear_tf=sublinear_tf, strip_accents=strip_accents
    )
    features = vectorizer.fit_transform([*toxic, *neutral])
    is_toxic = np.arange(features.shape[0]) < len(toxic)
    r = nb_log_ratios(features, is_toxic)
    classifier = LogisticRegression(C=C, solver="liblinear", random_state=seed)
    classifier.fit(features.multiply(r).tocsr(), is_toxic)
    return model_from_sklearn(vectorizer, r, classifier)


def nb_log_ratios(features: Any, is_toxic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """log(p(n-gram | toxic) / p(n-gram | neutral)) with p = (sum + 1) / (texts + 1), shape (n-grams,)."""

    def share(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        sums = np.asarray(features[np.flatnonzero(chosen)].sum(axis=0), dtype=np.float64).ravel()
        return (sums + 1.0) / float(chosen.sum() + 1)

    ratios: NDArray[np.float64] = np.log(share(is_toxic) / share(~is_toxic))
    return ratios


def model_from_sklearn(
    vectorizer: "TfidfVectorizer", r: NDArray[np.float64], classifier: "LogisticRegression"
) -> NbLogisticModel:
    """Take every setting and weight from fitted objects.

    Raises:
        ValueError: a setting is one that the scorer does not compute, or there are not two classes.
    """
    settings = vectorizer.get_params()
    for name, required in REQUIRED_SETTINGS.items():
        if settings[name] != required:
            raise ValueError(f"{name}: {settings[name]!r} is not supported; supported: {required!r}")
    if settings["strip_accents"] not in (None, "unicode"):
        raise ValueError(f"strip_accents: {settings['strip_accents']!r} is not supported; supported: 'unicode', None")
    if len(classifier.classes_) != 2:
        raise ValueError(f"classes: {len(classifier.classes_)} are not 2")
    return NbLogisticModel(
        vocabulary=tuple(sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)),
        idf=np.asarray(vectorizer.idf_, dtype=np.float64),
        r=np.asarray(r, dtype=np.float64),
        coef=np.asarray(classifier.coef_[0], dtype=np.float64),
        intercept=float(classifier.intercept_[0]),
        settings=NbSettings(
            ngram_range=tuple(settings["ngram_range"]),
            lowercase=settings["lowercase"],
            strip_accents=settings["strip_accents"],
            sublinear_tf=settings["sublinear_tf"],
        ),
    )
