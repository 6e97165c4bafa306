"""Today's ratios of the scoring extension: `python benchmarks/screener/bench.py [--quick]`.

Each figure compares two ways to the same result in one process: identity first, then alternating rounds with the same
number of threads, then the median of the ratios of each pair. A ratio of 5 means that ours takes a fifth of the time.
Both sides have seen the texts before, except in the figures called cold, where every round has new objects.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
KINDS = {"wordpiece": "gte", "bpe": "gpt2", "unigram": "xlnet_base_cased"}
MAX_LENGTH = 128


@dataclass(frozen=True)
class Figure:
    """One comparison; seconds are medians over all rounds."""

    name: str
    ratio: float
    lowest: float
    highest: float
    ours_seconds: float
    theirs_seconds: float
    texts: int
    bytes: int


def paired(name: str, texts: list[str], ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> Figure:
    """Alternate both, the first pair unmeasured; who goes first alternates as well."""

    def seconds(work: Callable[[], Any]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    ours(), theirs()
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            b, a = seconds(theirs), seconds(ours)
        else:
            a, b = seconds(ours), seconds(theirs)
        pairs.append((a, b))
    ratios = [b / a for a, b in pairs]
    return Figure(
        name=name,
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        ours_seconds=statistics.median(a for a, _ in pairs),
        theirs_seconds=statistics.median(b for _, b in pairs),
        texts=len(texts),
        bytes=sum(len(text.encode()) for text in texts),
    )


def corpus(quick: bool) -> tuple[dict[str, list[str]], str]:
    """Named lists of texts, and where they come from."""
    size = 1000 if quick else 4000
    if (DATA / "paradetox.tsv").exists():
        lines = (DATA / "paradetox.tsv").read_text(encoding="utf-8").splitlines()[1:]
        short = [line.split("\t")[0] for line in lines][:size]
        comments = (DATA / "dev_toxic.txt").read_text(encoding="utf-8").splitlines()
        long = [" ".join(comments[start : start + 8]) for start in range(0, len(comments) - 8, 8)][: size // 4]
        return {"short": short, "long": long}, "../shared/data"
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(5000)]
    texts = [" ".join(rng.choices(words, k=rng.randint(4, 24))) + "." for _ in range(size)]
    return {"short": texts, "long": [" ".join(texts[i : i + 8]) for i in range(0, size, 8)]}, "generated"


def tokenizer_json(kind: str) -> str:
    """A published file where there is one, or a small tokenizer trained here."""
    path = DATA / "tokenizers" / f"{KINDS[kind]}.json"
    return path.read_text(encoding="utf-8") if path.exists() else trained_json(kind)


def trained_json(kind: str) -> str:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    parts: dict[str, tuple[Any, Any, Any, Any]] = {
        "wordpiece": (
            models.WordPiece(unk_token="[UNK]"),
            normalizers.BertNormalizer(),
            pre_tokenizers.BertPreTokenizer(),
            trainers.WordPieceTrainer(vocab_size=5000, special_tokens=["[PAD]", "[UNK]"]),
        ),
        "bpe": (
            models.BPE(),
            normalizers.NFC(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            trainers.BpeTrainer(vocab_size=5000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        ),
        "unigram": (
            models.Unigram(),
            normalizers.NFKD(),
            pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
            trainers.UnigramTrainer(vocab_size=2000, special_tokens=["<pad>", "<unk>"], unk_token="<unk>"),
        ),
    }
    model, normalizer, pre_tokenizer, trainer = parts[kind]
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.train_from_iterator(corpus(quick=True)[0]["short"], trainer)
    return tokenizer.to_str()


def tokenizer_figures(kind: str, name: str, texts: list[str], threads: int, rounds: int) -> list[Figure]:
    import numpy as np
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from sro_screener import Encoder

    document = tokenizer_json(kind)
    encoder = Encoder.from_json(document, MAX_LENGTH, pad_token_id=0)
    reference = Tokenizer.from_str(document)
    reference.no_padding()
    reference.enable_truncation(MAX_LENGTH)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(document), pad_token="[PAD]")

    def ours() -> list[Any]:
        return encoder.encode(texts, max_tokens=1 << 30, threads=threads)

    def to_tensors() -> Any:
        return wrapped(texts, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="np")

    (batch,) = ours()
    expected = [encoding.ids for encoding in reference.encode_batch_fast(texts)]
    tensors = to_tensors()
    for row, place in enumerate(batch.permutation.tolist()):
        length = int(batch.lengths[row])
        if batch.input_ids[row, :length].tolist() != expected[place]:
            raise SystemExit(f"{kind} {name}: text {place} has other ids than tokenizers gives it")
        kept = tensors["input_ids"][place][tensors["attention_mask"][place] == 1]
        if not np.array_equal(batch.input_ids[row, :length], kept):
            raise SystemExit(f"{kind} {name}: text {place} has other ids than transformers gives it")

    def fresh_reference() -> Tokenizer:
        tokenizer = Tokenizer.from_str(document)
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_LENGTH)
        return tokenizer

    encoders = [Encoder.from_json(document, MAX_LENGTH, pad_token_id=0) for _ in range(rounds + 1)]
    references = [fresh_reference() for _ in range(rounds + 1)]
    return [
        paired(f"{kind}/{name}/transformers", texts, ours, to_tensors, rounds),
        paired(f"{kind}/{name}/encode_batch_fast", texts, ours, lambda: reference.encode_batch_fast(texts), rounds),
        paired(
            f"{kind}/{name}/encode_batch_fast-cold",
            texts,
            lambda: encoders.pop().encode(texts, max_tokens=1 << 30, threads=threads),
            lambda: references.pop().encode_batch_fast(texts),
            rounds,
        ),
    ]


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
    figures = []
    for name, chosen in texts.items():
        for kind in KINDS:
            figures += tokenizer_figures(kind, name, chosen, options.threads, options.rounds)
        figures.append(nb_figure(name, chosen, options.threads, options.rounds))
    figures.append(verdict_figure(100_000 if options.quick else 1_000_000, options.rounds))
    for figure in figures:
        print(f"{figure.name} {figure.ratio:.1f}")
    document = {"conditions": conditions(options.threads, source), "figures": [asdict(figure) for figure in figures]}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
