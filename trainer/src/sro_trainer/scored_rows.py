"""The rows of a step's loss: what of a rollout is scored, and which rows stay together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sro_trainer.judging import Judged
from sro_trainer.players import Players
from sro_trainer.rollout import Rollout


@dataclass(frozen=True, kw_only=True)
class ScoredRow:
    """One paraphrase with what the loss needs to know of it."""

    prompt: tuple[int, ...]
    paraphrase: tuple[int, ...]
    source: tuple[int, ...]
    source_row: int
    place: int
    """Of its source in this rank's part of the batch."""
    passed: bool
    """By screener and guards."""
    weight: float
    """Share of the row that counts as passed: 1 or 0 for a verdict as it is."""
    counts: bool = True
    """False for a row that only keeps this rank in step with the others."""
    mismatched: tuple[int, ...] = ()
    """The paraphrase of another source, for an objective that scores it."""


Unit = tuple[ScoredRow, ...]
"""Rows whose loss is one value of them all: they are scored together."""


def scored_rows(rollout: Rollout, judged: Judged, players: Players, *, mismatches: bool = False) -> list[ScoredRow]:
    """The rows that may be learnt from, and at least one row.

    Args:
        rollout: of this rank.
        judged: the same rows' verdicts.
        players: whose codec makes ids of texts.
        mismatches: whether each row is given a paraphrase of another source. Every rank must ask alike.
    """
    prompts = players.codec.prompts(rollout.sources)
    sources = players.codec.targets(rollout.sources)
    others = _mismatched(rollout, players) if mismatches else [()] * len(prompts)
    used = [row for row, use in enumerate(judged.guarded.used) if use and rollout.targets[row]]
    return [
        ScoredRow(
            prompt=tuple(prompts[row]),
            paraphrase=rollout.targets[row],
            source=tuple(sources[row]),
            source_row=rollout.source_rows[row],
            place=row // players.spec.leader.sampling.paraphrases_per_source,
            passed=bool(judged.guarded.passed[row]),
            weight=float(judged.weights[row]),
            counts=row in used,
            mismatched=others[row],
        )
        for row in used or [0]
    ]


def idle(row: ScoredRow) -> ScoredRow:
    """The row as one that teaches nothing."""
    return replace(row, passed=False, weight=0.0, counts=False)


def by_source(rows: Iterable[ScoredRow]) -> list[Unit]:
    """The rows of each source together, in the order of the rows."""
    groups: dict[int, list[ScoredRow]] = {}
    for row in rows:
        groups.setdefault(row.place, []).append(row)
    return [tuple(group) for group in groups.values()]


def _mismatched(rollout: Rollout, players: Players) -> Sequence[tuple[int, ...]]:
    """Each row's neighbour: the same paraphrase of the next source of the whole batch, whatever rank it lies on."""
    everyone = [target for targets in players.world.gathered(rollout.targets) for target in targets]
    first = players.world.rank * len(rollout.targets)
    stride = players.spec.leader.sampling.paraphrases_per_source
    return [everyone[(first + row + stride) % len(everyone)] for row in range(len(rollout.targets))]
