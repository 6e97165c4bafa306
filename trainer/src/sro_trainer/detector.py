"""A classifier of human-written sentences against the same spoilt, on the hidden states of a frozen language model.

Two linear layers, both fitted in closed form or nearly so: the first says of each word whether it is out of place, and learns
from sentences whose wrong words are known; the second says from a sentence's words whether the sentence was spoilt, and learns from
sentences that the first has not seen. Each sentence is there clean and spoilt, so that neither its topic nor its style nor its
length in the language tells the answer.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from sro_trainer.disfluency import KINDS, Spoilt, clean, is_word, spoil
from sro_trainer.word_states import States, WordReader

Values = NDArray[np.float64]

WORD_SHARE = 0.7
"""Of the sentences, for the judgement of words; of the rest, one half for the judgement of sentences, the other to check both."""
_RIDGE = 100.0


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How a detector does on sentences that it was not fitted on."""

    clean: Values
    """Scores of sentences as people wrote them, shape (n,)."""
    spoilt: dict[str, Values]
    """Scores of the same sentences spoilt, by kind; each sentence is spoilt in one way."""

    @property
    def auc(self) -> float:
        """Chance that a clean sentence scores above a spoilt one."""
        return area(self.clean, np.concatenate(list(self.spoilt.values())))

    def interval(self, *, seed: int = 0) -> tuple[float, float, float]:
        """The area with its 95 % bootstrap interval: mean, low, high."""
        spoilt, generator = np.concatenate(list(self.spoilt.values())), np.random.default_rng(seed)
        drawn = [
            area(generator.choice(self.clean, len(self.clean)), generator.choice(spoilt, len(spoilt)))
            for _ in range(1000)
        ]
        low, high = np.quantile(drawn, [0.025, 0.975])
        return self.auc, float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Fitted weights over the words' standardised hidden states, and over what a sentence's words come to."""

    centre: Values
    scale: Values
    weights: Values
    head_centre: Values
    head_scale: Values
    head: Values
    """Weights of the sentence's features; the last is the intercept."""

    def judged(self, states: Iterable[States]) -> Values:
        """Chance that each sentence is as a person wrote it, where clean and spoilt ones are equally many, shape (n,)."""
        features = np.stack([_summary(self._words(hidden)) for hidden in states])
        standard = (features - self.head_centre) / self.head_scale
        chances: Values = 1.0 / (1.0 + np.exp(-(standard @ self.head[:-1] + self.head[-1])))
        return chances

    def _words(self, hidden: States) -> Values:
        return _wrongness(hidden, self.centre, self.scale, self.weights)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A detector and how far it can be trusted."""

    detector: Detector
    agreement: Agreement
    key: str = ""
    """What it was fitted on: model, sentences and seed, as a digest."""

    def save(self, path: Path) -> None:
        """Write both, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{os.getpid()}.npz")
        parts: dict[str, Any] = {name: getattr(self.detector, name) for name in _PARTS}
        parts |= {f"{_CHECKED}{kind}": scores for kind, scores in self.agreement.spoilt.items()}
        parts[f"{_CHECKED}clean"] = self.agreement.clean
        parts[_KEY] = np.array(self.key)
        np.savez(staging, **parts)
        os.replace(staging, path)

    @classmethod
    def load(cls, path: Path) -> Fitted:
        """Read what `save` wrote.

        Raises:
            OSError, ValueError, KeyError: the file holds none.
        """
        with np.load(path, allow_pickle=False) as stored:
            detector = Detector(**{name: stored[name] for name in _PARTS})
            # A file of an earlier version has none: it is fitted anew.
            key = str(stored[_KEY]) if _KEY in stored.files else ""
            checked = {n.removeprefix(_CHECKED): stored[n] for n in stored.files if n.startswith(_CHECKED)}
        return cls(detector=detector, agreement=Agreement(clean=checked.pop("clean"), spoilt=checked), key=key)


_PARTS = ("centre", "scale", "weights", "head_centre", "head_scale", "head")
_CHECKED = "checked "
_KEY = "key"


def fit_detector(reader: WordReader, texts: Sequence[str], *, seed: int) -> Fitted:
    """Fit a detector and check it on the sentences that were kept back.

    Args:
        reader: the frozen model.
        texts: human-written, at least 40 of four words or more.
        seed: of the spoiling.

    Raises:
        ValueError: there are too few texts.
    """
    pairs = spoilt_pairs(texts, seed=seed)
    if len(pairs) < LEAST_PAIRS:
        raise ValueError(f"{len(pairs)} sentences of four words or more; {LEAST_PAIRS} are needed")
    states = reader.states([sentence.words for pair in pairs for sentence in pair])
    read = [(pair, (states[2 * row], states[2 * row + 1])) for row, pair in enumerate(pairs)]
    words_end = round(len(read) * WORD_SHARE)
    check = words_end + (len(read) - words_end) // 2
    centre, scale, weights = _fit_words(read[:words_end])
    head_centre, head_scale, head = _fit_head(read[words_end:check], centre, scale, weights)
    detector = Detector(
        centre=centre, scale=scale, weights=weights, head_centre=head_centre, head_scale=head_scale, head=head
    )
    return Fitted(detector=detector, agreement=_checked(detector, read[check:]))


LEAST_PAIRS = 40


def spoilt_pairs(texts: Sequence[str], *, seed: int) -> list[tuple[Spoilt, Spoilt]]:
    """Each text that is long enough, clean and spoilt in one way; the ways take turns."""
    sentences = [clean(text) for text in texts]
    foreign = [word for sentence in sentences for word in sentence.words if is_word(word)]
    pairs = []
    for row, sentence in enumerate(sentences):
        spoilt = spoil(sentence, KINDS[row % len(KINDS)], random.Random(f"{seed}/spoil/{row}"), foreign)
        if spoilt is not None and any(spoilt.wrong):
            pairs.append((sentence, spoilt))
    return pairs


def area(clean_scores: Values, spoilt_scores: Values) -> float:
    """Area under the ROC curve: the chance that a clean score is above a spoilt one, ties counting half."""
    order = np.sort(spoilt_scores)
    below = np.searchsorted(order, clean_scores, side="left")
    upto = np.searchsorted(order, clean_scores, side="right")
    return float((below + upto).mean() / (2 * len(order)))


_Read = Sequence[tuple[tuple[Spoilt, Spoilt], tuple[States, States]]]


def _fit_words(read: _Read) -> tuple[Values, Values, Values]:
    """Ridge regression on the words' flags: as good here as a logistic one or a small network, and solved at once."""
    hidden = np.concatenate([states for _, both in read for states in both]).astype(np.float64)
    flags = np.concatenate([sentence.wrong for pair, _ in read for sentence in pair]).astype(np.float64)
    centre, scale = hidden.mean(axis=0), hidden.std(axis=0) + 1e-6
    standard = (hidden - centre) / scale
    gram = standard.T @ standard + _RIDGE * np.eye(standard.shape[1])
    return centre, scale, np.linalg.solve(gram, standard.T @ (flags - flags.mean()))


def _fit_head(read: _Read, centre: Values, scale: Values, weights: Values) -> tuple[Values, Values, Values]:
    features = np.stack([_summary(_wrongness(states, centre, scale, weights)) for _, both in read for states in both])
    is_clean = np.array([sentence.kind == "clean" for pair, _ in read for sentence in pair])
    head_centre, head_scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    fitted: Any = LogisticRegression(C=0.3).fit((features - head_centre) / head_scale, is_clean)
    return head_centre, head_scale, np.concatenate([fitted.coef_[0], fitted.intercept_])


def _wrongness(hidden: States, centre: Values, scale: Values, weights: Values) -> Values:
    wrongness: Values = ((hidden - centre) / scale) @ weights
    return wrongness


def _summary(wrongness: Values) -> Values:
    """A sentence by its most suspicious words, its average, its beginning, its end and its length."""
    worst = np.sort(wrongness)[::-1]
    second, third = worst[min(1, len(worst) - 1)], worst[min(2, len(worst) - 1)]
    return np.array(
        [worst[0], second, third, wrongness.mean(), wrongness[0], wrongness[-1], np.log(len(wrongness))]
    )  # fmt: skip


def _checked(detector: Detector, read: _Read) -> Agreement:
    spoilt: dict[str, list[float]] = {}
    scores = detector.judged(states for _, both in read for states in both)
    for (_, after), score in zip((pair for pair, _ in read), scores[1::2], strict=True):
        spoilt.setdefault(after.kind, []).append(float(score))
    return Agreement(clean=scores[::2], spoilt={kind: np.array(found) for kind, found in spoilt.items()})
