"""Today's ratios of the scoring extension: `python benchmarks/screener/bench.py [--quick]`.

Each figure compares two ways to the same result in one process: identity first, then alternating rounds with the same
number of threads, then the median of the ratios of each pair. A ratio of 5 means that ours takes a fifth of the time.
Tokenizers have seen no text before the round that is timed, except in the figures called warm.
"""

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corpora import corpus
from limits import limit_figures
from paired import Figure, paired
from tokenizer_figures import rival_figures, rivals_tried, tokenizer_figures


def nb_figure(name: str, texts: list[str], threads: int, rounds: int) -> Figure:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from sro_screener.fit import model_from_sklearn, nb_log_ratios

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_df=0.9, strip_accents="unicode", sublinear_tf=True)
    features = vectorizer.fit_transform(texts)
    is_toxic = np.arange(len(texts)) % 2 == 0
    r = nb_log_ratios(features, is_toxic)
    classifier = LogisticRegression(C=4.0, solver="liblinear", random_state=0)
    classifier.fit(features.multiply(r).tocsr(), is_toxic)
    model = model_from_sklearn(vectorizer, r, classifier)

    def theirs() -> Any:
        return classifier.predict_proba(vectorizer.transform(texts).multiply(r).tocsr())[:, 1]

    difference = float(np.abs(model.score(texts) - theirs()).max())
    if difference > 1e-6:
        raise SystemExit(f"nb {name}: a score differs by {difference}")
    return paired(f"nb/{name}/scikit-learn", texts, lambda: model.score(texts, threads), theirs, rounds)


def verdict_figure(rows: int, rounds: int) -> Figure:
    """Softmax, threshold and the way back to the callers' order, beside numpy."""
    import numpy as np

    from sro_screener import reference, verdicts

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, 6)).astype(np.float32)
    permutation = rng.permutation(rows)
    arguments: dict[str, Any] = {"label_index": 1, "permutation": permutation}
    scores, passed = verdicts(logits, **arguments)
    if not np.allclose(scores, reference.verdicts(logits, **arguments)[0], rtol=0, atol=1e-6):
        raise SystemExit("verdicts: a score differs from the readable twin's")
    if not np.array_equal(passed, scores < 0.5):
        raise SystemExit("verdicts: a verdict contradicts its score")

    def theirs() -> Any:
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = np.empty(rows, dtype=np.float32)
        scores[permutation] = exponentials[:, 1] / exponentials.sum(axis=1)
        return scores, scores < 0.5

    return paired(f"verdicts/{rows}x6/numpy", [], lambda: verdicts(logits, **arguments), theirs, rounds)


def conditions(threads: int, source: str) -> dict[str, Any]:
    from importlib.metadata import version

    names = ["sro-screener", "tokenizers", "transformers", "scikit-learn", "numpy"]
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "threads": threads,
        "texts": source,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer texts, under a minute")
    parser.add_argument("--threads", type=int, default=1, help="of both sides")
    parser.add_argument("--rounds", type=int, default=11, help="measured pairs of each figure")
    parser.add_argument("--output", type=Path, default=Path("runs/bench-screener.json"), help="where the figures go")
    options = parser.parse_args()
    # The reference's thread pool reads these when it starts, so they are set before it is imported.
    os.environ.update(
        RAYON_NUM_THREADS=str(options.threads),
        TOKENIZERS_PARALLELISM="true" if options.threads > 1 else "false",
        OMP_NUM_THREADS=str(options.threads),
        OPENBLAS_NUM_THREADS=str(options.threads),
    )
    texts, source = corpus(options.quick)
    figures: list[Figure] = []
    rivals = rivals_tried(next(iter(texts.values()))) if options.threads == 1 else []

    def add(found: list[Figure]) -> None:
        for figure in found:
            print(f"{figure.name} {figure.ratio:.1f}", flush=True)
        figures.extend(found)

    for name, chosen in texts.items():
        add(tokenizer_figures(name, chosen, options.threads, options.rounds))
        add(rival_figures(name, chosen, rivals, options.rounds, cold=not options.quick) if rivals else [])
        add([nb_figure(name, chosen, options.threads, options.rounds)])
    add([verdict_figure(100_000 if options.quick else 1_000_000, options.rounds)])
    speeds = limit_figures([text for chosen in texts.values() for text in chosen], options.rounds)
    for speed in speeds:
        print(f"{speed.name} {speed.bytes_per_second / 1e6:.0f} MB/s")
    for rival in rivals:
        wrong = f", {rival['wrong']} of {rival['texts']} texts" if rival.get("wrong") else ""
        print(f"{rival['rival']} {rival.get('version', '')} with {rival['kind']}: {rival['outcome']}{wrong}")
    document = {
        "conditions": conditions(options.threads, source),
        "figures": [asdict(figure) for figure in figures],
        "speeds": [asdict(speed) for speed in speeds],
        "rivals": rivals,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
