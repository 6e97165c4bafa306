"""The warm start: the leader learns to rewrite by restoring neutral sentences that were corrupted with toxic words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from sro_api.training import WarmStartSpec
from sro_trainer.corruption import corrupt
from sro_trainer.engine import Course, Engine, learning_rate
from sro_trainer.leader import build_rows
from sro_trainer.order import batch_rows
from sro_trainer.players import Players
from sro_trainer.sampling import row_seed
from sro_trainer.training_state import Stopwatch
from sro_trainer.update import number_of_parts, refuse_divergence


@dataclass(frozen=True, kw_only=True)
class WarmStartFigures:
    """One step, over all ranks."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Negative log-likelihood per token of the restored sentences, nats."""
    rows: int
    tokens: int
    samples_per_second: float
    learning_rate: float
    seconds: dict[str, float] = field(default_factory=dict)


def warm_start_course(spec: WarmStartSpec, players: Players) -> Course:
    """How the weights move in the warm start: the learning rate falls linearly, since nothing comes after to undo its noise."""
    plan = players.spec.optimization
    return Course(
        steps=spec.steps,
        learning_rate=spec.learning_rate,
        schedule="linear",
        weight_decay=plan.weight_decay,
        max_grad_norm=plan.max_grad_norm,
        parts=number_of_parts(spec.batch_size // players.world.size, 1),
    )


def warm_start_step(
    engine: Engine, players: Players, spec: WarmStartSpec, words: Sequence[str], *, step: int
) -> WarmStartFigures:
    """One step of restoring; `step` counts from 0.

    Raises:
        DivergedError: the loss is not finite.
    """
    clock, rate, world = Stopwatch(), learning_rate(engine), players.world
    with clock.phase("update"):
        pairs = _pairs(players, spec, words, step=step)
        tokens = world.total([sum(len(target) for _, target in pairs)])[0]
        torch.manual_seed(row_seed(players.spec.optimization.seed, "warm start", step, world.rank))
        loss = _learn(engine, pairs, players, tokens=tokens)
    return WarmStartFigures(
        step=step + 1,
        loss=world.total([loss])[0] / tokens,
        rows=spec.batch_size,
        tokens=int(tokens),
        samples_per_second=spec.batch_size / clock.seconds["update"],
        learning_rate=rate,
        seconds=clock.seconds,
    )


def _pairs(
    players: Players, spec: WarmStartSpec, words: Sequence[str], *, step: int
) -> list[tuple[list[int], list[int]]]:
    """Prompt and target ids of this rank's sentences, by length."""
    seed, size = players.spec.optimization.seed, spec.batch_size
    batch = batch_rows(step, batch_size=size, rows=len(players.neutral), seed=f"{seed}/warm start")
    mine = range(size)[players.world.share(size)]
    sentences = [players.neutral[batch[place]] for place in mine]
    generators = [random.Random(f"{seed}/corrupt/{step}/{place}") for place in mine]
    corrupted = [corrupt(text, words, generator, spec) for text, generator in zip(sentences, generators, strict=True)]
    pairs = zip(players.codec.prompts(corrupted), players.codec.targets(sentences), strict=True)
    return sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))


def _learn(engine: Engine, pairs: Sequence[tuple[list[int], list[int]]], players: Players, *, tokens: float) -> float:
    """One optimiser step; the summed loss of this rank."""
    parts = engine.gradient_accumulation_steps()
    size = -(-len(pairs) // parts)
    engine.train()
    total = 0.0
    for part in (pairs[start : start + size] for start in range(0, len(pairs), size)):
        prompts, targets = [prompt for prompt, _ in part], [target for _, target in part]
        rows = build_rows(prompts, range(len(part)), targets, filler=players.codec.filler, device=players.world.device)
        loss = -engine(rows, "policy").sum()
        refuse_divergence(loss, players)
        engine.backward(loss * (players.world.size / tokens), scale_wrt_gas=False)
        engine.step()
        total += float(loss.detach())
    refuse_divergence(torch.as_tensor(engine.get_global_grad_norm() or 0.0), players)
    return total
