"""From verdicts to gradients: the rows of a batch in parts, their log-ratios, the loss and the figures of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sro_trainer.engine import Engine
from sro_trainer.errors import DivergedError
from sro_trainer.judging import Judged
from sro_trainer.leader import Rows, build_rows
from sro_trainer.logps import k3_divergence, mean_nll
from sro_trainer.loss import anchored_loss, sro_margin
from sro_trainer.players import Players
from sro_trainer.rollout import Rollout

ROWS_WORTH_SPLITTING = 8
"""From this many sources on, a part is scored in two halves by length: less padding, and no more forwards than pay."""


@dataclass(frozen=True, kw_only=True)
class ScoredRow:
    """One paraphrase with what the loss needs to know of it."""

    prompt: tuple[int, ...]
    paraphrase: tuple[int, ...]
    source: tuple[int, ...]
    source_row: int
    passed: bool
    counts: bool
    """False for a row that only keeps this rank in step with the others."""


@dataclass
class UpdateSums:
    """Sums over the rows in the loss, of this rank."""

    rows: float = 0.0
    passed: float = 0.0
    loss: float = 0.0
    paraphrase_logratio: float = 0.0
    source_logratio: float = 0.0
    divergence: float = 0.0
    tokens: float = 0.0

    def add(self, other: UpdateSums) -> None:
        """Add another part's sums."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class ReferenceCache:
    """log reference(x|x) by the source's row: neither x nor the reference ever changes."""

    logps: dict[int, float] = field(default_factory=dict)


def number_of_parts(sources: int, accumulation: int) -> int:
    """Backward passes per step: the same on every rank, as ZeRO-3 needs.

    Args:
        sources: of one rank and step.
        accumulation: parts that the spec asks for.
    """
    return accumulation * (2 if sources // accumulation >= ROWS_WORTH_SPLITTING else 1)


def scored_rows(rollout: Rollout, judged: Judged, players: Players) -> list[ScoredRow]:
    """The rows of the loss, and at least one row."""
    prompts = players.codec.prompts(rollout.sources)
    sources = players.codec.targets(rollout.sources)
    used = [row for row, use in enumerate(judged.guarded.used) if use and rollout.targets[row]]
    return [
        ScoredRow(
            prompt=tuple(prompts[row]),
            paraphrase=rollout.targets[row],
            source=tuple(sources[row]),
            source_row=rollout.source_rows[row],
            passed=bool(judged.guarded.passed[row]),
            counts=row in used,
        )
        for row in used or [0]
    ]


def split(rows: Sequence[ScoredRow], parts: int) -> list[list[ScoredRow]]:
    """Exactly `parts` parts of like length; where there are too few rows, a part is one that does not count."""
    ordered = sorted(
        rows, key=lambda row: len(row.prompt) + len(row.paraphrase) + (len(row.source) if row.passed else 0)
    )
    size, longer = divmod(len(ordered), parts)
    ends = [size * (part + 1) + min(part + 1, longer) for part in range(parts)]
    cut = [ordered[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    idle = [_idle(ordered[0])]
    return [part or idle for part in cut]


def update(
    engine: Engine, rows: Sequence[ScoredRow], cache: ReferenceCache, players: Players, *, parts: int
) -> UpdateSums:
    """One optimiser step on the rows of all ranks.

    Returns:
        Sums over all ranks.

    Raises:
        DivergedError: the loss or the gradient is not finite; on every rank.
    """
    world = players.world
    global_rows = world.total([sum(row.counts for row in rows)])[0]
    sums = UpdateSums()
    for part in split(rows, parts):
        # Gradients are averaged over ranks: scaled so, the average is the mean over all rows of the step.
        loss, own = part_loss(engine, part, cache, players)
        refuse_divergence(loss, players)
        engine.backward(loss * (world.size / max(1.0, global_rows)), scale_wrt_gas=False)
        engine.step()
        sums.add(own)
    refuse_divergence(torch.as_tensor(engine.get_global_grad_norm() or 0.0), players)
    return UpdateSums(**dict(zip(vars(sums), world.total(list(vars(sums).values())), strict=True)))


def part_loss(
    engine: Engine, part: Sequence[ScoredRow], cache: ReferenceCache, players: Players
) -> tuple[Tensor, UpdateSums]:
    """The summed loss of a part and its figures: one reference forward without gradient, one policy forward with it."""
    pairs = [row for row in part if row.passed]
    unknown = [row for row in {row.source_row: row for row in pairs}.values() if row.source_row not in cache.logps]
    engine.eval()
    with torch.no_grad():
        reference = engine(_rows(part, unknown, players), "reference")
    known = reference[len(part) :].sum(-1).tolist()
    cache.logps.update({row.source_row: logps for row, logps in zip(unknown, known, strict=True)})
    engine.train()
    rows = _rows(part, pairs, players)
    policy = engine(rows, "policy")
    return _loss_of(part, pairs, policy, reference, rows, cache, players)


def refuse_divergence(value: Tensor, players: Players) -> None:
    """Stop all ranks if a figure is not finite on one of them.

    Raises:
        DivergedError: it is not.
    """
    if players.world.any(not bool(torch.isfinite(value.detach()).all())):
        raise DivergedError("loss: not finite; lower spec.optimization.learningRate or spec.optimization.maxGradNorm")


def _loss_of(
    part: Sequence[ScoredRow], pairs: Sequence[ScoredRow], policy: Tensor, reference: Tensor, rows: Rows, cache: ReferenceCache,
    players: Players,
) -> tuple[Tensor, UpdateSums]:  # fmt: skip
    method, device, count = players.spec.method, policy.device, len(part)
    counts = torch.tensor([row.counts for row in part], dtype=torch.float32, device=device)
    passed = torch.tensor([row.passed for row in part], dtype=torch.bool, device=device)
    paraphrases = policy[:count]
    paraphrase_logratio = paraphrases.sum(-1) - reference[:count].sum(-1)
    reference_sources = torch.tensor([cache.logps[row.source_row] for row in pairs], dtype=torch.float32, device=device)
    source_logratio = policy[count:].sum(-1) - reference_sources
    losses = anchored_loss(
        sro_margin(paraphrase_logratio, source_logratio, passed, beta=method.beta),
        mean_nll(paraphrases, rows.targets.mask[:count]),
        passed,
        epsilon=method.epsilon,
        anchor_weight=players.spec.guards.anchor_weight,
    )
    loss = (losses * counts).sum()
    width = min(policy.shape[1], reference.shape[1])
    divergence = k3_divergence(policy[:count, :width].detach(), reference[:count, :width])
    return loss, UpdateSums(
        rows=float(counts.sum()),
        passed=float(passed.sum()),
        loss=float(loss.detach()),
        paraphrase_logratio=float((paraphrase_logratio.detach() * counts).sum()),
        source_logratio=float(source_logratio.detach().sum()),
        divergence=float((divergence * counts).sum()),
        tokens=float(rows.targets.mask.sum()),
    )


def _rows(part: Sequence[ScoredRow], with_source: Sequence[ScoredRow], players: Players) -> Rows:
    prompts = list(dict.fromkeys(row.prompt for row in part))
    place = {prompt: index for index, prompt in enumerate(prompts)}
    return build_rows(
        prompts,
        [place[row.prompt] for row in [*part, *with_source]],
        [*(row.paraphrase for row in part), *(row.source for row in with_source)],
        filler=players.codec.filler,
        device=players.world.device,
    )


def _idle(row: ScoredRow) -> ScoredRow:
    return ScoredRow(
        prompt=row.prompt,
        paraphrase=row.paraphrase,
        source=row.source,
        source_row=row.source_row,
        passed=False,
        counts=False,
    )
