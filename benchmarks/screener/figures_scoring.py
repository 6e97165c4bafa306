"""What scoring gains: `python benchmarks/screener/figures_scoring.py [--quick]`.

Text to verdict by whole screeners, and logits to verdicts; each figure is the median ratio of paired rounds in one process, after
both sides were seen to answer alike. A ratio of 5 means that ours takes a fifth of the time.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from classifier_figures import classifier_figures, generated_texts
from corpora import DATA
from effort import Effort, median_ratio


def figures(effort: Effort) -> Iterator[tuple[dict[str, float], dict[str, Any]]]:
    """Every figure of this file, by name, part by part, and what is known of the agreement."""
    for name, texts in corpora(effort.quick).items():
        counts = [1] if effort.quick else sorted({1, effort.threads})
        yield nb_figures(name, texts, counts, effort), {}
    yield verdict_figures(effort), {}
    yield classifier_figures(effort)


def corpora(quick: bool) -> dict[str, list[str]]:
    """Short sentences and comments of every length."""
    size = 1000 if quick else 4000
    if not (DATA / "paradetox.tsv").exists() or not (DATA / "jigsaw_toxic.csv").exists():
        return {"generated": generated_texts(size)}
    lines = (DATA / "paradetox.tsv").read_text(encoding="utf-8").splitlines()[1:]
    with (DATA / "jigsaw_toxic.csv").open(encoding="utf-8", newline="") as stream:
        comments = [row["comment_text"] for row in islice(csv.DictReader(stream), size)]
    return {"paradetox": [line.split("\t")[0] for line in lines][:size], "jigsaw": comments}


def nb_figures(name: str, texts: list[str], counts: list[int], effort: Effort) -> dict[str, float]:
    """Text to verdict by the linear screener on so many threads, beside scikit-learn's own pipeline."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from sro_screener.fit import model_from_sklearn, nb_log_ratios

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=3, max_df=0.9, strip_accents="unicode", sublinear_tf=True)
    features = vectorizer.fit_transform(texts)
    is_toxic = np.arange(len(texts)) % 2 == 0
    r = nb_log_ratios(features, is_toxic)
    classifier = LogisticRegression(C=4.0, solver="liblinear", random_state=0)
    classifier.fit(features.multiply(r).tocsr(), is_toxic)
    model = model_from_sklearn(vectorizer, r, classifier)

    def theirs() -> Any:
        return classifier.predict_proba(vectorizer.transform(texts).multiply(r).tocsr())[:, 1] < 0.5

    expected = classifier.predict_proba(vectorizer.transform(texts).multiply(r).tocsr())[:, 1]
    scores, passed = model.verdicts(texts)
    if np.abs(scores - expected).max() > 1e-6 or not np.array_equal(passed, expected < 0.5):
        raise SystemExit("nb: scores or verdicts are not those of scikit-learn")
    return {
        f"nb/{name}/scikit-learn/{count}-threads": median_ratio(
            lambda count=count: model.verdicts(texts, threads=count), theirs, effort.rounds
        )
        for count in counts
    }


def verdict_figures(effort: Effort) -> dict[str, float]:
    """Softmax over six labels, threshold and the way back to the callers' order."""
    import numpy as np
    import torch

    from sro_screener import verdicts

    rows = 100_000 if effort.quick else 1_000_000
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, 6)).astype(np.float32)
    permutation = rng.permutation(rows).astype(np.int32)
    tensor, places = torch.from_numpy(logits), torch.from_numpy(permutation).long()

    def by_numpy() -> Any:
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = np.empty(rows, dtype=np.float32)
        scores[permutation] = exponentials[:, 1] / exponentials.sum(axis=1)
        return scores, scores < 0.5

    def by_torch() -> Any:
        scores = torch.empty(rows)
        scores[places] = tensor.softmax(-1)[:, 1]
        return scores, scores < 0.5

    def ours() -> Any:
        return verdicts(logits, label_index=1, permutation=permutation)

    for other in (by_numpy, by_torch):
        if not np.allclose(ours()[0], np.asarray(other()[0]), rtol=0, atol=1e-6):
            raise SystemExit("verdicts: a score differs")
    return {
        f"verdicts/{rows}x6/numpy": median_ratio(ours, by_numpy, effort.rounds),
        f"verdicts/{rows}x6/torch": median_ratio(ours, by_torch, effort.rounds),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer texts and rounds")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of both sides")
    parser.add_argument("--output", type=Path, default=Path("runs/bench-scoring.json"), help="where the figures go")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS=str(options.threads), OPENBLAS_NUM_THREADS=str(options.threads))
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    effort = Effort(quick=options.quick, threads=options.threads)
    found: dict[str, float] = {}
    agreement: dict[str, Any] = {}
    for ratios, compared in figures(effort):
        for name, ratio in ratios.items():
            print(f"{name} {ratio:.2f}", flush=True)
        found |= ratios
        agreement |= compared
    if agreement:
        print(json.dumps(agreement, indent=2))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "threads": effort.threads,
        "rounds": effort.rounds,
        "network_rounds": effort.network_rounds,
        "figures": found,
        "agreement": agreement,
    }
    options.output.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
