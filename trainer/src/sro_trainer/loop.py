"""One step of the game: sample, screen, score, learn; and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from sro_trainer.engine import Course, Engine, learning_rate
from sro_trainer.guards import REFUSALS
from sro_trainer.judging import Judged, judge
from sro_trainer.objectives import build_objective
from sro_trainer.order import batch_rows
from sro_trainer.plain import PlainPolicy
from sro_trainer.players import Players
from sro_trainer.rollout import Rollout, sample
from sro_trainer.sampling import row_seed
from sro_trainer.scored_rows import scored_rows
from sro_trainer.tokens import Codec
from sro_trainer.training_state import Stopwatch
from sro_trainer.update import ReferenceCache, UpdateSums, number_of_parts, update


@dataclass(frozen=True, kw_only=True)
class StepFigures:
    """One step, over all ranks."""

    step: int
    """Steps done, this one included."""
    loss: float
    pass_rate: float
    """By screener and guards."""
    screener_pass_rate: float
    held_out_pass_rate: float | None
    similarity: float | None
    kl: float | None
    """Mean k3 per paraphrase, nats; None where no paraphrases are drawn to estimate it on."""
    paraphrase_logratio: float
    """Mean over the rows of the loss, nats."""
    source_logratio: float | None
    """Mean over the rows whose source the loss reads, nats."""
    rows: int
    """Paraphrases sampled."""
    rows_in_loss: int
    reward: float
    """Mean of beta x the log-ratio that the loss read, over the rows of the loss."""
    tokens: int
    """Target tokens scored by the policy."""
    samples_per_second: float
    learning_rate: float
    wrong_verdicts: int
    """Verdicts that `screener.perturbation` turned."""
    outcomes: dict[str, int]
    """Rows per guard that refused them, and `passed`."""
    seconds: dict[str, float] = field(default_factory=dict)


def game_course(players: Players) -> Course:
    """How the weights move in the game."""
    plan = players.spec.optimization
    sources = plan.batch_size // players.world.size
    return Course(
        steps=players.total_steps,
        learning_rate=plan.learning_rate,
        schedule=plan.schedule,
        warmup_steps=plan.warmup_steps,
        weight_decay=plan.weight_decay,
        max_grad_norm=plan.max_grad_norm,
        parts=number_of_parts(sources, plan.gradient_accumulation_steps),
    )


def game_step(
    engine: Engine,
    plain: PlainPolicy,
    cache: ReferenceCache,
    players: Players,
    *,
    step: int,
    mean_reward: float = 0.0,
) -> StepFigures:
    """Play one step of the game.

    Args:
        engine: round the leader.
        plain: the policy that samples.
        cache: the reference's scores of sources.
        players: the others.
        step: counted from 0.
        mean_reward: of the rows of all earlier steps, which BCO reads.

    Raises:
        DivergedError: the loss is not finite.
    """
    clock, rate = Stopwatch(), learning_rate(engine)
    with clock.phase("sample"):
        rollout = sample_step(plain, players, step=step)
    with clock.phase("screen"):
        judged = judge(rollout, players, step=step, first_row=players.world.rank * len(rollout.paraphrases))
    with clock.phase("update"):
        seed = players.spec.optimization.seed
        torch.manual_seed(row_seed(seed, "game", step, players.world.rank))
        mismatches = build_objective(players.spec).shift == "mismatched"
        rows = scored_rows(rollout, judged, players, mismatches=mismatches)
        parts = engine.gradient_accumulation_steps()
        sums = update(engine, rows, cache, players, parts=parts, mean_reward=mean_reward)
    return _figures(step + 1, rollout, judged, sums, players, clock, rate)


def sample_step(plain: PlainPolicy, players: Players, *, step: int) -> Rollout:
    """This rank's part of the step's rollout; of the parallel pairs where there are some."""
    spec = players.spec
    seed, size = spec.optimization.seed, spec.optimization.batch_size
    batch = batch_rows(step, batch_size=size, rows=len(players.parallel or players.sources), seed=f"{seed}/game")
    mine = range(size)[players.world.share(size)]
    rows = [batch[place] for place in mine]
    if players.parallel:
        return paired_rollout([players.parallel[row] for row in rows], rows, players.codec)
    return sample(
        plain.refresh(),
        players.codec,
        spec.leader,
        [players.sources[row] for row in rows],
        rows,
        seed_parts=[(seed, "sample", step, place) for place in mine],
    )


def paired_rollout(pairs: Sequence[tuple[str, str]], rows: Sequence[int], codec: Codec) -> Rollout:
    """Parallel pairs as if the leader had written their neutral side, so that all that follows is the same."""
    targets = codec.targets([neutral for _, neutral in pairs])
    return Rollout(
        sources=tuple(toxic for toxic, _ in pairs),
        source_rows=tuple(rows),
        targets=tuple(tuple(target) for target in targets),
        paraphrases=tuple(neutral for _, neutral in pairs),
        has_eos=tuple(codec.has_eos(target) for target in targets),
    )


def _figures(
    step: int, rollout: Rollout, judged: Judged, sums: UpdateSums, players: Players, clock: Stopwatch, rate: float
) -> StepFigures:
    counts = judged.guarded.counts
    outcomes = [*REFUSALS, "passed"]
    held_out, similarities = judged.held_out_passed, judged.similarities
    totals = players.world.total(
        [
            len(rollout.paraphrases),
            int(judged.screener_passed.sum()),
            int(held_out.sum()) if held_out is not None else 0,
            float(similarities.sum()) if similarities is not None else 0.0,
            judged.wrong,
            *(counts.get(name, 0) for name in outcomes),
        ]
    )
    rows, screener_passed, held_out_passed, similarity, wrong = totals[:5]
    by_outcome = {name: int(total) for name, total in zip(outcomes, totals[5:], strict=True)}
    in_loss = max(1.0, sums.rows)
    return StepFigures(
        step=step,
        loss=sums.loss / in_loss,
        pass_rate=by_outcome["passed"] / rows,
        screener_pass_rate=screener_passed / rows,
        held_out_pass_rate=held_out_passed / rows if held_out is not None else None,
        similarity=max(-1.0, min(1.0, similarity / rows)) if similarities is not None else None,
        kl=None if players.parallel else sums.divergence / in_loss,
        paraphrase_logratio=sums.paraphrase_logratio / in_loss,
        source_logratio=sums.source_logratio / sums.sourced if sums.sourced else None,
        rows=int(rows),
        rows_in_loss=int(sums.rows),
        reward=sums.reward / in_loss,
        tokens=int(sums.tokens),
        samples_per_second=rows / sum(clock.seconds.values()),
        learning_rate=rate,
        wrong_verdicts=int(wrong),
        outcomes=by_outcome,
        seconds=clock.seconds,
    )
