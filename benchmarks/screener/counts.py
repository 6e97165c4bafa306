"""Instructions of a fixed workload, which repeat exactly: `python benchmarks/screener/counts.py [--write]`.

Valgrind counts what one encoder, cold and on one thread, takes for every line of examples/data in batches of at most
4,096 tokens. A count more than 2 % above counts.json is a regression: exit 1. `--write` makes today's counts the baseline.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from exactness import tokenizer_files

ROOT = Path(__file__).resolve().parents[2]
NATIVE = Path(__file__).resolve().parent / "native"
BASELINE = Path(__file__).resolve().parent / "counts.json"
TEXTS = [ROOT / "examples" / "data" / name for name in ("toxic.txt", "neutral.txt")]
ALLOWED = 0.02


def build() -> Path:
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked", "--bin", "count"], cwd=NATIVE, check=True)
    return NATIVE / "target" / "release" / "count"


def count(program: Path, tokenizer: Path, texts: Path) -> dict[str, int]:
    """Instructions, bytes and tokens."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "callgrind.out"
        command = [
            "valgrind",
            "--tool=callgrind",
            "--toggle-collect=*counted_region*",
            f"--callgrind-out-file={counts}",
        ]
        done = subprocess.run([*command, program, tokenizer, texts], capture_output=True, text=True, check=True)
        summary = next(line for line in counts.read_text().splitlines() if line.startswith(("summary:", "totals:")))
    size, tokens = map(int, done.stdout.split())
    return {"instructions": int(summary.split()[1]), "bytes": size, "tokens": tokens}


def name_of(path: Path) -> str:
    return path.parents[1].name if path.name == "tokenizer.json" else path.stem


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make today's counts the baseline")
    parser.add_argument("--only", default="", help="only tokenizer files with this in their path")
    options = parser.parse_args()
    program, baseline = build(), json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    found, worse = {}, []
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as texts:
        texts.write("".join(path.read_text(encoding="utf-8") for path in TEXTS))
        texts.flush()
        for path in (path for path in tokenizer_files() if options.only in str(path)):
            name = name_of(path)
            found[name] = count(program, path, Path(texts.name))
            before = baseline.get(name, found[name])["instructions"]
            ratio = found[name]["instructions"] / before
            per_byte = found[name]["instructions"] / found[name]["bytes"]
            print(
                f"{name} {found[name]['instructions']} instructions, {per_byte:.2f} per byte, {ratio:.4f} of the baseline"
            )
            worse += [name] if ratio > 1 + ALLOWED else []
    if options.write:
        BASELINE.write_text(json.dumps(baseline | found, indent=2, sort_keys=True) + "\n")
    elif worse:
        print(f"more instructions than before: {', '.join(worse)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
