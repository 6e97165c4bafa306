"""Fuzz every kind of tokenizer for a while: `python screener_rs/fuzz/run.py --seconds 900`.

Builds the targets with the stable compiler and libFuzzer's coverage (the layout is cargo-fuzz's, which needs nightly for
its sanitizers; the crate's only `unsafe` code is in one file), writes the tokenizers that the tests train, and prints for
each kind executions, crashes and mismatches. A crash or a mismatch leaves the input under fuzz/artifacts: exit 1.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
TARGET = "x86_64-unknown-linux-gnu"
COVERAGE = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Clink-dead-code",
    "--cfg=fuzzing",
]
KINDS = ["wordpiece", "bytes", "sentencepiece", "unigram"]


def build() -> Path:
    environment = {**os.environ, "RUSTFLAGS": " ".join(COVERAGE)}
    command = ["cargo", "build", "--quiet", "--release", "--bins", "--target", TARGET]
    subprocess.run(command, cwd=FUZZ, env=environment, check=True)
    return FUZZ / "target" / TARGET / "release"


def fuzz(program: Path, name: str, folders: list[Path], seconds: int, environment: dict[str, str]) -> bool:
    """Runs one target; prints its figures and says whether it stayed clean."""
    artifacts = FUZZ / "artifacts" / name
    artifacts.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1"]
    command = [str(program), *limits, f"-artifact_prefix={artifacts}/", *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    executions = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    mismatches = done.stderr.count("assertion `left == right` failed")
    crashes = int(done.returncode != 0) - min(mismatches, 1)
    print(f"{name}: executions {executions[-1] if executions else 0}, crashes {crashes}, mismatches {mismatches}")
    if done.returncode:
        print(done.stderr[-3000:])
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=900, help="for each kind")
    parser.add_argument("--only", default="", help="only the kind of this name, or load")
    options = parser.parse_args()
    programs = build()
    clean = True
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        subprocess.run([sys.executable, FUZZ / "write_tokenizers.py", root], check=True, stdout=subprocess.DEVNULL)
        for kind in [*KINDS, "load"]:
            if options.only in ("", kind):
                corpus = FUZZ / "corpus" / kind
                corpus.mkdir(parents=True, exist_ok=True)
                environment = {**os.environ, "SRO_FUZZ_TOKENIZERS": str(root / kind)}
                seeds = [corpus, *([root / "seeds"] if kind == "load" else [])]
                program = programs / ("load" if kind == "load" else "encode")
                clean &= fuzz(program, kind, seeds, options.seconds, environment)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
