"""SRO against TRL's OnlineDPOTrainer on the same work: `python benchmarks/train/bench.py [--quick] [--output FILE]`.

Both sides train the same leader with the same LoRA, in float32, on the same prompts in the same batches, against the same
screener, each in a fresh process; the sides alternate, and a ratio is of two neighbours. A sample is a completion that was
generated and went into the loss. Two leaders: one after a warm start, whose rows end early, as in a real game, and one as
it was loaded, most of whose rows run to the token limit.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from leaders import leader_folder
from workload import Workload

HERE = Path(__file__).resolve().parent
MIB = 1 << 20


def measured(side: str, workload: Workload) -> dict[str, Any]:
    """One side in a process of its own."""
    environment = {
        "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
        "OMP_WAIT_POLICY": "PASSIVE",
        **os.environ,
        "DS_ACCELERATOR": "cpu",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    ended = subprocess.run(
        [sys.executable, str(HERE / f"{side}_side.py"), workload.dump()], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if ended.returncode:
        raise SystemExit(f"{side} side failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
    figures: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return figures


def paired(name: str, workload: Workload, rounds: int) -> dict[str, Any]:
    """Alternate the sides; who goes first alternates as well."""
    pairs = []
    for turn in range(rounds):
        sides = ("sro", "trl") if turn % 2 == 0 else ("trl", "sro")
        both = {side: measured(side, workload) for side in sides}
        pairs.append((both["sro"], both["trl"]))
        print(f"  {name}, round {turn + 1}: {_line(both['sro'], both['trl'])}", flush=True)
    speed = [rate(ours) / rate(theirs) for ours, theirs in pairs]
    memory = [ours["peak_bytes"] / theirs["peak_bytes"] for ours, theirs in pairs]
    return {
        "name": name,
        "sources_per_step": workload.sources,
        "completions_per_source": workload.paraphrases,
        "max_new_tokens": workload.max_new_tokens,
        "steps": workload.steps,
        "speed_ratio": statistics.median(speed),
        "speed_ratios": speed,
        "memory_ratio": statistics.median(memory),
        "rounds": [{"sro": ours, "trl": theirs} for ours, theirs in pairs],
    }


def rate(figures: dict[str, Any]) -> float:
    """Completions generated and trained on, per second."""
    return float(figures["completions_in_loss"] / figures["seconds"])


def alone(name: str, workload: Workload) -> dict[str, Any]:
    """SRO as it is by default, one paraphrase per source: TRL has no such mode."""
    figures = measured("sro", workload)
    print(f"  {name}: {rate(figures):.2f} samples/s, which are as many sources/s", flush=True)
    return {"name": name, "samples_per_second": rate(figures), "sro": figures}


def _line(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    return (
        f"SRO {rate(ours):.2f} samples/s, {ours['peak_bytes'] // MIB} MiB; TRL {rate(theirs):.2f} samples/s, "
        f"{theirs['peak_bytes'] // MIB} MiB; speed x {rate(ours) / rate(theirs):.2f}, memory x "
        f"{ours['peak_bytes'] / theirs['peak_bytes']:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of two steps")
    parser.add_argument("--leader", choices=("warm", "cold", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--sources", type=int, default=8, help="prompts per step")
    parser.add_argument("--max-new-tokens", type=int, default=36)
    parser.add_argument("--output", type=Path, default=Path("runs/bench-train.json"))
    given = parser.parse_args()
    rounds, steps = (1, 2) if given.quick else (given.rounds, given.steps)
    kinds = ("warm", "cold") if given.leader == "both" else (given.leader,)
    versions = {
        name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "peft", "deepspeed")
    }
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, float32; {versions}", flush=True)
    results, singles = [], []
    for kind in kinds:
        workload = Workload(
            leader=str(leader_folder(kind)), sources=given.sources, paraphrases=2, max_new_tokens=given.max_new_tokens, steps=steps
        )  # fmt: skip
        results.append(paired(f"{kind} leader", workload, rounds))
        single = replace(workload, sources=2 * given.sources, paraphrases=1)
        singles.append(alone(f"{kind} leader, one paraphrase per source", single))
    report = {"versions": versions, "torch_config": torch.__config__.show(), "paired": results, "default": singles}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\n{'leader':<14}{'speed ratio':>12}{'memory ratio':>14}   (SRO / TRL, medians of {rounds} rounds)")
    for result in results:
        print(f"{result['name']:<14}{result['speed_ratio']:>12.2f}{result['memory_ratio']:>14.2f}")
    print(f"written to {given.output}")


if __name__ == "__main__":
    main()
