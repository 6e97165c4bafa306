"""Today's ratios of the tokenizers: `python benchmarks/screener/bench.py [--quick]`.

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
from paired import Figure
from tokenizer_figures import FILES, rival_figures, rivals_tried, tokenizer_figures


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
    parser.add_argument("--rounds", type=int, help="measured pairs of each figure (11, or 5 with --quick)")
    parser.add_argument("--output", type=Path, default=Path("runs/bench-screener.json"), help="where the figures go")
    options = parser.parse_args()
    # The reference's thread pool reads these when it starts, so they are set before it is imported.
    os.environ.update(
        RAYON_NUM_THREADS=str(options.threads),
        TOKENIZERS_PARALLELISM="true" if options.threads > 1 else "false",
        OMP_NUM_THREADS=str(options.threads),
        OPENBLAS_NUM_THREADS=str(options.threads),
    )
    rounds = options.rounds or (5 if options.quick else 11)
    texts, source = corpus(options.quick)
    figures: list[Figure] = []
    rivals = (
        rivals_tried(next(iter(texts.values())), ("wordpiece",) if options.quick else FILES)
        if options.threads == 1
        else []
    )

    def add(found: list[Figure]) -> None:
        for figure in found:
            print(f"{figure.name} {figure.ratio:.1f}", flush=True)
        figures.extend(found)

    for name, chosen in texts.items():
        add(tokenizer_figures(name, chosen, options.threads, rounds))
        add(rival_figures(name, chosen, rivals, rounds, cold=not options.quick) if rivals else [])
    speeds = limit_figures([text for chosen in texts.values() for text in chosen], rounds)
    for speed in speeds:
        print(f"{speed.name} {speed.bytes_per_second / 1e6:.0f} MB/s")
    for rival in rivals:
        wrong = f", {rival['wrong']} of {rival['texts']} texts" if rival.get("wrong") else ""
        print(f"{rival['rival']} {rival.get('version', '')} with {rival['kind']}: {rival['outcome']}{wrong}")
    document = {
        "conditions": conditions(options.threads, source) | {"rounds": rounds},
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
