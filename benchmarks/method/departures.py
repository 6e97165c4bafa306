"""What each departure from the authors' notebook does: `python benchmarks/method/departures.py [--seeds 8]`, a quarter of an hour on a CPU.

One small task, one switch at a time. A tiny T5 of 40,000 random weights learns to restore sentences of a toy grammar (the warm
start, once per seed), then plays the same game in each variant: as sro has it, or with one defect of the notebook put back. After
the game every variant is measured alike, by right log-probabilities and greedy rewrites of sentences that it never saw:

  pass      share of rewrites that the screener passes
  kept      Jaccard overlap of a rewrite's words with the source's words that are not rude
  J         mean of the product of both
  r_x       log policy - log reference of the toxic source, nats: SRO lowers it
  r_y       the same of the source with a mild word in the place of the rude one: SRO should not lower it
  r at 0    the larger mean |log-ratio| of both sides that the loss read at the first step: 0 where policy and reference are one
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import torch
from torch import nn

from sro_api.run_config import RunConfig
from sro_trainer.distributed import World
from sro_trainer.engine import Engine, build_engine, deepspeed_configuration, release
from sro_trainer.judging import judge
from sro_trainer.leader import Leader, Rows, Side, Snapshot, build_leader, build_rows
from sro_trainer.logps import per_token_logps
from sro_trainer.loop import game_course
from sro_trainer.models import load_model
from sro_trainer.order import batch_rows
from sro_trainer.players import Players, build_codec, build_players, leader_locations
from sro_trainer.rollout import Rollout, rewrite, sample
from sro_trainer.sampling import row_seed
from sro_trainer.scored_rows import ScoredRow, scored_rows
from sro_trainer.testing import MILD, RUDE, tiny_job, tiny_leader, world_of_one, write_corpus
from sro_trainer.update import ReferenceCache, update
from sro_trainer.warm_start import warm_start_course, warm_start_step

DROPOUT = 0.1
SHORT = 6
"""New tokens under the notebook's cap, scaled to this grammar: sentences have 7 to 11 with their end, and most are cut."""
FIGURES = ("pass", "kept", "J", "r_x", "r_y", "r at 0")


class UnshiftedLeader(Leader):
    """Scores a text as the notebook does: the decoder reads a token and is asked for the same token."""

    def forward(self, rows: Rows, side: Side = "policy") -> torch.Tensor:
        """Log-probability of each token given itself and those before it."""
        with self.as_side(side) as model:
            encoded = model.get_encoder()(input_ids=rows.prompts.ids, attention_mask=rows.prompts.mask.long())
            encoded.last_hidden_state = encoded.last_hidden_state[rows.prompt_index]
            logits = model(
                encoder_outputs=encoded, attention_mask=rows.prompts.mask[rows.prompt_index].long(),
                decoder_input_ids=rows.targets.ids, use_cache=False,
            ).logits  # fmt: skip
        return per_token_logps(logits[rows.targets.mask], rows.targets.ids, rows.targets.mask)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to play; the fields that are set are what the notebook does."""

    name: str
    spec: dict[str, Any]
    leader: type[Leader] = Leader
    drops_out: bool = False
    source: Callable[[ScoredRow], tuple[int, ...]] | None = None
    """What stands in the place of the source's ids."""


def variants() -> list[Variant]:
    """sro, and one departure undone at a time."""
    flips = {"screener": {"perturbation": {"kind": "SymmetricFlips", "rate": 0.1}}}
    cap = {"leader": {"maxNewTokens": SHORT}, "guards": {"requireEos": False}}
    same_file = {"screener": {"fit": {"toxic": {"uri": "file:toxic.txt"}, "minDocumentFrequency": 2}}}
    return [
        Variant(name="as sro has it", spec={}),
        Variant(name="1 no label shift", spec={}, leader=UnshiftedLeader),
        Variant(name="2 prompt scored as the source", spec={}, source=lambda row: row.prompt),
        Variant(name="3 one verdict in ten flipped", spec=flips),
        Variant(name="4 dropout in policy and rollout", spec={}, drops_out=True),
        Variant(name="5 paraphrases cut, no end needed", spec=cap),
        Variant(name="6 screener fitted on the prompts", spec=same_file),
        Variant(name="no smoothing (epsilon 0)", spec={"method": {"epsilon": 0.0}}),
        Variant(name="no anchor", spec={"guards": {"anchorWeight": 0.0}}),
    ]


def job(folder: Path, variant: Variant, seed: int, arguments: argparse.Namespace) -> RunConfig:
    """The task, with the variant's fields."""
    spec: dict[str, Any] = {
        "leader": {
            "maxNewTokens": 14, "adapter": {"type": "Full"},
            "warmStart": {"steps": arguments.warm_steps, "batchSize": 32, "learningRate": 3e-3, "toxicWords": 12, "maxInsertions": 1},
        },
        "guards": {"requireEos": True},
        "data": {"evaluationRows": 100},
        "optimization": {"steps": arguments.steps, "batchSize": 16, "learningRate": 5e-4, "seed": seed},
    }  # fmt: skip
    for section, fields in variant.spec.items():
        spec[section] = {**spec.get(section, {}), **fields}
    return tiny_job(folder, kind="t5", **spec)


def play(folder: Path, variant: Variant, seed: int, start: Snapshot, arguments: argparse.Namespace) -> dict[str, float]:
    """The game of one variant, measured."""
    world = world_of_one()
    config = job(folder, variant, seed, arguments)
    players = players_of(config, world, folder / f"screener-{variant.name}")
    leader = leader_of(config, start)
    leader = variant.leader(leader.policy, leader.reference, leader.task)
    course = game_course(players)
    engine = build_engine(
        leader, deepspeed_configuration(config.spec.deepspeed, course, world_size=1, bfloat16=False), course
    )
    cache, first = ReferenceCache(), 0.0
    for step in range(players.total_steps):
        rollout = drawn(leader, players, step, drops_out=variant.drops_out)
        judged = judge(rollout, players, step=step, first_row=0)
        rows = scored_rows(rollout, judged, players)
        if variant.source is not None:
            rows = [replace(row, source=variant.source(row)) for row in rows]
        set_dropout(leader.policy, DROPOUT if variant.drops_out else 0.0)
        sums = update(engine, rows, cache, players, parts=engine.gradient_accumulation_steps())
        if step == 0:
            sides = (sums.paraphrase_logratio / max(1.0, sums.rows), sums.source_logratio / max(1.0, sums.sourced))
            first = max(abs(side) for side in sides)
    set_dropout(leader.policy, 0.0)
    figures = measured(Leader(leader.policy, leader.reference, leader.task), players)
    release(engine)
    return {**figures, "r at 0": first}


def drawn(leader: Leader, players: Players, step: int, *, drops_out: bool) -> Rollout:
    """The step's rollout; with dropout in it where that is asked."""
    seed, size = players.spec.optimization.seed, players.spec.optimization.batch_size
    rows = batch_rows(step, batch_size=size, rows=len(players.sources), seed=f"{seed}/game")
    set_dropout(leader.policy, DROPOUT if drops_out else 0.0)
    torch.manual_seed(row_seed(seed, "dropout", step))
    # With dropout at 0 the two modes are one.
    return sample(
        leader.policy.train(drops_out), players.codec, players.spec.leader, [players.sources[row] for row in rows], rows,
        seed_parts=[(seed, "sample", step, place) for place in range(size)],
    )  # fmt: skip


def set_dropout(model: nn.Module, value: float) -> None:
    """Every dropout of the model at one value."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = value


def measured(leader: Leader, players: Players) -> dict[str, float]:
    """Greedy rewrites and right log-ratios on the held-out sources."""
    sources = players.evaluation
    with torch.no_grad():
        written = rewrite(leader.policy.eval(), players.codec, sources, max_new_tokens=14)
        mild = [without_rudeness(source, MILD[row % len(MILD)]) for row, source in enumerate(sources)]
        r_x, r_y = (mean_logratio(leader, players, sources, texts) for texts in (sources, mild))
    passed = players.screener.verdicts(written).passed.tolist()
    kept = [overlap(x, y) for x, y in zip(sources, written, strict=True)]
    joint = [float(p) * k for p, k in zip(passed, kept, strict=True)]
    return {
        "pass": statistics.mean(map(float, passed)), "kept": statistics.mean(kept), "J": statistics.mean(joint), "r_x": r_x, "r_y": r_y,
    }  # fmt: skip


def mean_logratio(leader: Leader, players: Players, sources: Sequence[str], texts: Sequence[str]) -> float:
    """Mean over texts of log policy - log reference, nats."""
    prompts, targets = players.codec.prompts(sources), players.codec.targets(texts)
    rows = build_rows(prompts, range(len(prompts)), targets, filler=players.codec.filler, device=players.world.device)
    return float((leader(rows, "policy").sum(-1) - leader(rows, "reference").sum(-1)).mean())


def without_rudeness(source: str, mild: str) -> str:
    """The source with a mild phrase in the place of its rude one."""
    rude = max((phrase for phrase in RUDE if phrase in source), key=len)
    return source.replace(rude, mild)


def overlap(source: str, written: str) -> float:
    """Jaccard overlap of words, the source's rude ones left out."""
    wanted, got = set(without_rudeness(source, "").split()), set(written.split())
    return len(wanted & got) / max(1, len(wanted | got))


def players_of(config: RunConfig, world: World, cache: Path) -> Players:
    """The followers and the rows of a job."""
    location, tokenizer = leader_locations(config)
    loaded = load_model(location, config.spec.leader, torch.float32)
    codec = build_codec(config, tokenizer, loaded.task, loaded.model.generation_config.eos_token_id)
    return build_players(config, world, codec, cache=cache)


def leader_of(config: RunConfig, start: Snapshot | None) -> Leader:
    """The job's leader, at the end of its warm start if that is given."""
    location, _ = leader_locations(config)
    loaded = load_model(location, config.spec.leader, torch.float32)
    return build_leader(loaded.model, loaded.task, config.spec.leader.adapter, seed=0, snapshot=start)


def warm_start(folder: Path, seed: int, arguments: argparse.Namespace) -> tuple[Snapshot, dict[str, float]]:
    """The weights from which all variants of a seed play, and how they measure."""
    world, config = world_of_one(), job(folder, variants()[0], seed, arguments)
    players, leader = players_of(config, world, folder / f"screener-{seed}"), leader_of(config, None)
    spec = config.spec.leader.warm_start
    assert spec is not None
    course = warm_start_course(spec, players)
    engine: Engine = build_engine(
        leader, deepspeed_configuration(config.spec.deepspeed, course, world_size=1, bfloat16=False), course
    )
    words = players.screener.toxic_words(spec.toxic_words)
    for step in range(spec.steps):
        warm_start_step(engine, players, spec, words, step=step)
    snapshot = {name: value.detach().clone() for name, value in leader.trained().items()}
    reference = leader_of(config, snapshot)
    release(engine)
    return snapshot, {**measured(reference, players), "r at 0": 0.0}


def main() -> None:
    """Print mean and range over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument(
        "--warm-steps", type=int, default=800, help="fewer, and the game undoes all that was learnt in every variant"
    )
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder, rows=900)
        tiny_leader("t5").save(folder / "leader")
        for seed in range(arguments.seeds):
            start, before = warm_start(folder, seed, arguments)
            found.setdefault("before the game", []).append(before)
            for variant in variants():
                found.setdefault(variant.name, []).append(play(folder, variant, seed, start, arguments))
                print(f"seed {seed}: {variant.name}: {found[variant.name][-1]}", flush=True)
    print(f"\n{'':34}" + "".join(f"{figure:>22}" for figure in FIGURES))
    for variant_name, rows in found.items():
        cells = [[row[figure] for row in rows] for figure in FIGURES]
        text = [f"{statistics.mean(cell):.3f} ({min(cell):.2f}..{max(cell):.2f})" for cell in cells]
        print(f"{variant_name:34}" + "".join(f"{cell:>22}" for cell in text))
    print("\nless what sro has, seed by seed: mean ± two standard errors")
    ours = found[variants()[0].name]
    for variant in variants()[1:]:
        cells = [
            [row[figure] - own[figure] for row, own in zip(found[variant.name], ours, strict=True)]
            for figure in FIGURES
        ]
        text = [f"{statistics.mean(cell):+.3f} ± {_two_errors(cell):.3f}" for cell in cells]
        print(f"{variant.name:34}" + "".join(f"{cell:>22}" for cell in text))


def _two_errors(values: Sequence[float]) -> float:
    return 2 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
