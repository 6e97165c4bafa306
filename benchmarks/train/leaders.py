"""The leaders of `make bench-train` as transformers folders, made once and kept in `.cache/bench-train`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from workload import EXAMPLES, GGUF, ROOT

from sro_api.run_config import RunConfig
from sro_trainer.distributed import join, leave
from sro_trainer.models import load_model, load_tokenizer
from sro_trainer.session import run
from sro_trainer.sources_io import resolve_model
from sro_trainer.termination import StopRequest
from sro_trainer.testing import RecordingReporter

CACHE = ROOT / ".cache" / "bench-train"
WARM_START_STEPS = 20


def leader_folder(kind: str) -> Path:
    """The leader `cold`, as it was unpacked, or `warm`, after a warm start and one step of the game."""
    folder = CACHE / kind
    final = folder if kind == "cold" else folder / "model"
    if not (final / "config.json").exists():
        print(f"making the {kind} leader in {folder}", flush=True)
        # Apart: DeepSpeed leaves traces of its world in the environment, which the sides would inherit.
        subprocess.run([sys.executable, __file__, kind], check=True, stdout=subprocess.DEVNULL)
    return final


def _config(folder: Path, **optimization: Any) -> RunConfig:
    spec = {
        "leader": {
            "model": GGUF, "dtype": "float32", "maxSourceTokens": 48, "maxNewTokens": 36,
            "warmStart": {"steps": WARM_START_STEPS, "batchSize": 8, "toxicWords": 40},
        },
        "heldOutScreener": None,
        "guards": {"similarity": None, "fluency": None},
        "evaluation": {"similarity": None, "fluency": None},
        "data": {"toxic": {"uri": "file:data/toxic.txt"}, "neutral": {"uri": "file:data/neutral.txt"}, "evaluationRows": 1},
        "optimization": optimization,
        "output": {"uri": f"file://{folder}"},
    }  # fmt: skip
    return RunConfig.model_validate({"name": "leader", "spec": spec, "inputs": str(EXAMPLES), "outputs": str(folder)})


def _unpack(folder: Path) -> None:
    import torch

    config = _config(folder)
    location = resolve_model(config.spec.leader.model, config.roots)
    load_model(location, config.spec.leader, torch.float32).model.save_pretrained(folder)
    load_tokenizer(location, config.spec.leader).save_pretrained(folder)


def _warm_start(folder: Path) -> None:
    world = join({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
    try:
        run(_config(folder, steps=1, batchSize=16), world, StopRequest(), RecordingReporter())
    finally:
        leave()


if __name__ == "__main__":
    target = CACHE / sys.argv[1]
    target.mkdir(parents=True, exist_ok=True)
    (_unpack if sys.argv[1] == "cold" else _warm_start)(target)
