"""What text of one kind costs, and how the cost grows: `python benchmarks/screener/worst_case.py`.

One line for each kind of tokenizer and input: nanoseconds per byte of 1 MB and of 10 MB, and their ratio, the growth. A
cost that is linear has a growth of about 1; exits 1 where one is above 2. Process time of one thread, the better of two.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from tokenizer_figures import FILES, tokenizer_json

MEGABYTE = 1_000_000
MOST_GROWTH = 2.0
UNITS = {
    "one letter": "a",
    "capitals": "A",
    "one digit": "7",
    "spaces": " ",
    "line feeds": "\n",
    "spaces and line feeds": " \n",
    "no-break spaces": "\u00a0",
    "combining marks": "\u0301",
    "marks on a letter": "e\u0301\u0327",
    "CJK": "語",
    "Hangul jamo": "\u1100\u1161\u11a8",
    "one emoji": "😀",
    "joined emoji": "👩\u200d",
    "flags": "🇩🇪",
    "apostrophes": "'",
    "marks": "!?",
    "alternating": "aB1!",
    "words": "the quick brown fox ",
    "prefixes of added tokens": "<|endoftext|[MASK<mas|||IP_ADDRESS||",
    "added tokens": "[MASK]<mask><|endoftext|>",
    "sentencepiece marks": "▁",
    "zero bytes": "\0",
    "controls": "\u0007\u0085",
}


def seconds(encoder: object, text: str) -> float:
    start = time.thread_time()
    encoder.encode_ids([text], threads=1)  # type: ignore[attr-defined]
    return time.thread_time() - start


def main() -> int:
    from sro_screener import Encoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only the kind of this name")
    parser.add_argument("--output", type=Path, default=Path("runs/worst-case.json"), help="where the table goes")
    options = parser.parse_args()
    table = []
    for kind in (kind for kind in FILES if options.only in ("", kind)):
        encoder = Encoder.from_json(tokenizer_json(kind), None)
        for name, unit in UNITS.items():
            small, large = (unit * (size // len(unit.encode())) for size in (MEGABYTE, 10 * MEGABYTE))
            per_byte = [
                min(seconds(encoder, text) for _ in range(2)) / len(text.encode()) * 1e9 for text in (small, large)
            ]
            growth = per_byte[1] / per_byte[0]
            print(f"{kind} | {name} | {per_byte[0]:.1f} | {per_byte[1]:.1f} | {growth:.2f}", flush=True)
            table.append({"kind": kind, "input": name, "ns_per_byte": per_byte, "growth": growth})
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    superlinear = [row for row in table if row["growth"] > MOST_GROWTH]
    print(f"more than linear: {len(superlinear)} of {len(table)}")
    return 1 if superlinear else 0


if __name__ == "__main__":
    sys.exit(main())
