"""From rows to gradients: a step in parts, log-ratios of both sides, the objective's loss and the figures of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sro_trainer.engine import Engine
from sro_trainer.errors import DivergedError
from sro_trainer.leader import Rows, build_rows
from sro_trainer.logps import k3_divergence, mean_nll
from sro_trainer.loss import Scores, on_rows
from sro_trainer.objectives import Objective, build_objective, failed_scale
from sro_trainer.players import Players
from sro_trainer.scored_rows import ScoredRow, Unit, idle

ROWS_WORTH_SPLITTING = 8
"""From this many sources on, a part is scored in two halves by length: less padding, and no more forwards than pay."""


@dataclass
class UpdateSums:
    """Sums over the rows in the loss, of this rank."""

    rows: float = 0.0
    passed: float = 0.0
    sourced: float = 0.0
    """Rows whose source was scored."""
    loss: float = 0.0
    paraphrase_logratio: float = 0.0
    source_logratio: float = 0.0
    divergence: float = 0.0
    reward: float = 0.0
    """beta x the log-ratio that the loss read."""
    tokens: float = 0.0

    def add(self, other: UpdateSums) -> None:
        """Add another part's sums."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class ReferenceCache:
    """log reference(x|x) by the source's row: neither x nor the reference changes, until the reference is renewed."""

    logps: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """What a row's loss reads of the whole step, over all ranks."""

    objective: Objective
    shift: float
    failed_scale: float


def number_of_parts(sources: int, accumulation: int) -> int:
    """Backward passes per step: the same on every rank, as ZeRO-3 needs.

    Args:
        sources: of one rank and step.
        accumulation: parts that the spec asks for.
    """
    return accumulation * (2 if sources // accumulation >= ROWS_WORTH_SPLITTING else 1)


def split(units: Sequence[Unit], parts: int, *, idle_unit: Unit) -> list[list[Unit]]:
    """Exactly `parts` parts of like length; where there are too few units, a part is the idle one."""
    ordered = sorted(units, key=_length)
    size, longer = divmod(len(ordered), parts)
    ends = [size * (part + 1) + min(part + 1, longer) for part in range(parts)]
    return [ordered[start:end] or [idle_unit] for start, end in zip([0, *ends], ends, strict=False)]


def update(
    engine: Engine,
    rows: Sequence[ScoredRow],
    cache: ReferenceCache,
    players: Players,
    *,
    parts: int,
    mean_reward: float = 0.0,
) -> UpdateSums:
    """One optimiser step on the rows of all ranks.

    Args:
        engine: round the leader.
        rows: of this rank, at least one.
        cache: the reference's scores of sources.
        players: whose spec names the objective.
        parts: backward passes.
        mean_reward: of the rows of all earlier steps.

    Returns:
        Sums over all ranks.

    Raises:
        DivergedError: the loss or the gradient is not finite; on every rank.
    """
    objective, world = build_objective(players.spec), players.world
    units = objective.units([row for row in rows if row.counts])
    shortest = min(units, key=_length, default=(rows[0],) * objective.rows_per_unit)
    pieces = split(units, parts, idle_unit=tuple(idle(row) for row in shortest))
    weights = [row.weight for unit in units for row in unit]
    global_rows, passing = world.total([len(weights), sum(weights)])
    facts = StepFacts(
        objective=objective,
        shift=_shift(engine, pieces, players, objective, mean_reward),
        failed_scale=failed_scale(players.spec.method, passing=passing, failing=global_rows - passing),
    )
    sums = UpdateSums()
    for piece in pieces:
        # Gradients are averaged over ranks: scaled so, the average is the mean over all rows of the step.
        loss, own = part_loss(engine, piece, cache, players, facts)
        refuse_divergence(loss, players)
        engine.backward(loss * (world.size / max(1.0, global_rows)), scale_wrt_gas=False)
        engine.step()
        sums.add(own)
    refuse_divergence(torch.as_tensor(engine.get_global_grad_norm() or 0.0), players)
    return UpdateSums(**dict(zip(vars(sums), world.total(list(vars(sums).values())), strict=True)))


def part_loss(
    engine: Engine, part: Sequence[Unit], cache: ReferenceCache, players: Players, facts: StepFacts
) -> tuple[Tensor, UpdateSums]:
    """The summed loss of a part and its figures: one reference forward without gradient, one policy forward with it."""
    paraphrases = [row for unit in part for row in unit]
    sourced = [row for row in paraphrases if facts.objective.reads_source and row.weight != 0]
    unknown = [row for row in {row.source_row: row for row in sourced}.values() if row.source_row not in cache.logps]
    engine.eval()
    with torch.no_grad():
        reference = engine(_rows(paraphrases, unknown, players), "reference")
    known = reference[len(paraphrases) :].sum(-1).tolist()
    cache.logps.update({row.source_row: logps for row, logps in zip(unknown, known, strict=True)})
    engine.train()
    rows = _rows(paraphrases, sourced, players)
    policy = engine(rows, "policy")
    reference_sources = torch.tensor([cache.logps[row.source_row] for row in sourced], device=policy.device)
    scored = _Scored(part=part, rows=rows, policy=policy, reference=reference, reference_sources=reference_sources)
    return _loss_of(scored, players, facts)


def refuse_divergence(value: Tensor, players: Players) -> None:
    """Stop all ranks if a figure is not finite on one of them.

    Raises:
        DivergedError: it is not.
    """
    if players.world.any(not bool(torch.isfinite(value.detach()).all())):
        raise DivergedError("loss: not finite; lower spec.optimization.learningRate or spec.optimization.maxGradNorm")


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """A part and what both sides of the leader said of it: paraphrases first, then the sources that were scored."""

    part: Sequence[Unit]
    rows: Rows
    policy: Tensor
    reference: Tensor
    reference_sources: Tensor


def _loss_of(scored: _Scored, players: Players, facts: StepFacts) -> tuple[Tensor, UpdateSums]:
    method, objective, device = players.spec.method, facts.objective, scored.policy.device
    paraphrases = [row for unit in scored.part for row in unit]
    count = len(paraphrases)
    counts = torch.tensor([row.counts for row in paraphrases], dtype=torch.float32, device=device)
    mask, policy = scored.rows.targets.mask, scored.policy
    paraphrase = policy[:count].sum(-1) - scored.reference[:count].sum(-1)
    source = policy[count:].sum(-1) - scored.reference_sources
    lengths = mask.sum(-1).clamp(min=1) if method.length_normalized else torch.ones_like(mask[:, 0], dtype=torch.long)
    width = min(policy.shape[1], scored.reference.shape[1])
    divergence = k3_divergence(policy[:count, :width], scored.reference[:count, :width])
    scores = Scores(
        paraphrase=paraphrase / lengths[:count],
        source=source / lengths[count:],
        sourced=torch.tensor(
            [objective.reads_source and row.weight != 0 for row in paraphrases], dtype=torch.bool, device=device
        ),
        nll=mean_nll(policy[:count], mask[:count]),
        weight=torch.tensor([row.weight for row in paraphrases], dtype=torch.float32, device=device),
        group=torch.tensor([number for number, unit in enumerate(scored.part) for _ in unit], device=device),
        shift=facts.shift,
        failed_scale=facts.failed_scale,
    )
    losses = objective.loss(scores)
    if objective.anchored:
        anchor = scores.weight[scores.passing] * scores.nll[scores.passing]
        losses = losses + players.spec.guards.anchor_weight * on_rows(losses, scores.passing, anchor)
    if method.kl_weight:
        losses = losses + method.kl_weight * divergence
    loss = (losses * counts).sum()
    return loss, UpdateSums(
        rows=float(counts.sum()),
        passed=float(sum(row.passed for row in paraphrases)),
        sourced=float(len(source)),
        loss=float(loss.detach()),
        paraphrase_logratio=float((paraphrase.detach() * counts).sum()),
        source_logratio=float(source.detach().sum()),
        divergence=float((divergence.detach() * counts).sum()),
        reward=float((scores.paraphrase.detach() * counts).sum()) * method.beta,
        tokens=float(mask.sum()),
    )


def _shift(
    engine: Engine, pieces: Sequence[Sequence[Unit]], players: Players, objective: Objective, mean_reward: float
) -> float:
    """What rewards are compared with; for mismatched pairs, one forward more of both sides for each part."""
    if objective.shift == "none":
        return 0.0
    if objective.shift == "mean reward":
        return mean_reward
    total = rows = 0.0
    engine.eval()
    with torch.no_grad():
        for piece in pieces:
            part = [row for unit in piece for row in unit]
            scored = _target_rows(part, [row.mismatched for row in part], players)
            counts = torch.tensor([row.counts for row in part], dtype=torch.float32, device=players.world.device)
            logratio = engine(scored, "policy").sum(-1) - engine(scored, "reference").sum(-1)
            if players.spec.method.length_normalized:
                logratio = logratio / scored.targets.mask.sum(-1).clamp(min=1)
            total, rows = total + float((logratio * counts).sum()), rows + float(counts.sum())
    total, rows = players.world.total([total, rows])
    return max(0.0, total / max(1.0, rows))


def _rows(paraphrases: Sequence[ScoredRow], with_source: Sequence[ScoredRow], players: Players) -> Rows:
    targets = [*(row.paraphrase for row in paraphrases), *(row.source for row in with_source)]
    return _target_rows([*paraphrases, *with_source], targets, players)


def _target_rows(rows: Sequence[ScoredRow], targets: Sequence[Sequence[int]], players: Players) -> Rows:
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    place = {prompt: index for index, prompt in enumerate(prompts)}
    return build_rows(
        prompts,
        [place[row.prompt] for row in rows],
        targets,
        filler=players.codec.filler,
        device=players.world.device,
    )


def _length(unit: Unit) -> int:
    return sum(len(row.prompt) + len(row.paraphrase) + (len(row.source) if row.weight != 0 else 0) for row in unit)
