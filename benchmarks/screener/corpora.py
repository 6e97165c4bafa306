"""The texts of the benchmarks: those of ../shared/data where they are there, else generated ones."""

import csv
import random
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def corpus(quick: bool) -> tuple[dict[str, list[str]], str]:
    """Named lists of texts, and where they come from: short sentences of ParaDetox, comments of Jigsaw."""
    size = 400 if quick else 4000
    if (DATA / "paradetox.tsv").exists() and (DATA / "jigsaw_toxic.csv").exists():
        lines = (DATA / "paradetox.tsv").read_text(encoding="utf-8").splitlines()[1:]
        with (DATA / "jigsaw_toxic.csv").open(encoding="utf-8", newline="") as file:
            comments = [row["comment_text"] for row in csv.DictReader(file)]
        return {
            "paradetox": [line.split("\t")[0] for line in lines][:size],
            "jigsaw": comments[: size // 2],
        }, "../shared/data"
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 9))) for _ in range(5000)]
    texts = [" ".join(rng.choices(words, k=rng.randint(4, 24))) + "." for _ in range(size)]
    return {"short": texts, "long": [" ".join(texts[i : i + 8]) for i in range(0, size, 8)]}, "generated"
