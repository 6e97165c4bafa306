"""Learning: parts that add up to the whole, rows that do not count, and a loss that is no longer finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sro_trainer.distributed import World
from sro_trainer.engine import Course, Engine, build_engine, deepspeed_configuration
from sro_trainer.errors import DivergedError
from sro_trainer.leader import Leader, build_leader
from sro_trainer.objectives import Ties, chosen_and_rejected
from sro_trainer.players import Players
from sro_trainer.scored_rows import ScoredRow, idle
from sro_trainer.testing import make_players, neutral_sentences, tiny_leader
from sro_trainer.update import ReferenceCache, UpdateSums, number_of_parts, split, update


def rows_of(players: Players, passed: Sequence[bool], *, per_source: int = 1) -> list[ScoredRow]:
    codec, sources = players.codec, players.sources[: len(passed)]
    targets = codec.targets(neutral_sentences()[100 : 100 + len(passed)])
    others = [*targets[1:], targets[0]]
    ids = zip(codec.prompts(sources), targets, codec.targets(sources), passed, others, strict=True)
    return [
        ScoredRow(
            prompt=tuple(prompt),
            paraphrase=tuple(paraphrase),
            source=tuple(source),
            source_row=row,
            place=row // per_source,
            passed=verdict,
            weight=float(verdict),
            mismatched=tuple(other),
        )
        for row, (prompt, paraphrase, source, verdict, other) in enumerate(ids)
    ]


def engine_of(players: Players, *, parts: int, learning_rate: float = 1e-3) -> tuple[Leader, Engine]:
    leader = build_leader(tiny_leader().model, "causal", players.spec.leader.adapter, seed=0, snapshot=None)
    course = Course(steps=10, learning_rate=learning_rate, parts=parts)
    configuration = deepspeed_configuration(players.spec.deepspeed, course, world_size=1, bfloat16=False)
    return leader, build_engine(leader, configuration, course)


def learnt(players: Players, rows: list[ScoredRow], *, parts: int) -> tuple[dict[str, torch.Tensor], UpdateSums]:
    """Weights after two steps on the same rows, and the sums of the second."""
    leader, engine = engine_of(players, parts=parts)
    cache = ReferenceCache()
    update(engine, rows, cache, players, parts=parts)
    sums = update(engine, rows, cache, players, parts=parts)
    return {name: value.detach().clone() for name, value in leader.trained().items()}, sums


@pytest.fixture
def players(tmp_path: Path, world: World) -> Players:
    return make_players(tmp_path, world)


MIXED = [True, False, True, True, False, True]


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_a_batch_in_parts_teaches_what_the_whole_does(parts: int, players: Players) -> None:
    rows = rows_of(players, MIXED)
    whole, whole_sums = learnt(players, rows, parts=1)
    pieces, sums = learnt(players, rows, parts=parts)
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, atol=2e-6, rtol=1e-4)
    assert sums.loss == pytest.approx(whole_sums.loss, rel=1e-5)
    assert (sums.rows, sums.passed) == (6, 4)


def test_more_parts_than_rows_change_nothing(players: Players) -> None:
    rows = rows_of(players, [True, False])
    whole, _ = learnt(players, rows, parts=1)
    idle, sums = learnt(players, rows, parts=5)
    for name, value in whole.items():
        torch.testing.assert_close(idle[name], value, atol=2e-6, rtol=1e-4)
    assert sums.rows == 2


@pytest.mark.parametrize("passed", [[True] * 4, [False] * 4], ids=["all passed", "all failed"])
def test_one_sided_batches_give_finite_losses(passed: list[bool], players: Players) -> None:
    _, sums = learnt(players, rows_of(players, passed), parts=2)
    assert sums.passed == sum(passed)
    assert 0 < sums.loss / sums.rows < 2


def test_the_first_log_ratios_are_zero(players: Players) -> None:
    _, engine = engine_of(players, parts=1)
    sums = update(engine, rows_of(players, MIXED), ReferenceCache(), players, parts=1)
    assert abs(sums.paraphrase_logratio) < 1e-4
    assert abs(sums.source_logratio) < 1e-4
    assert abs(sums.divergence) < 1e-6


def test_learning_lowers_what_failed_and_parts_what_passed_from_its_source(players: Players) -> None:
    _, engine = engine_of(players, parts=1, learning_rate=1e-2)
    cache = ReferenceCache()
    failed = rows_of(players, [False] * 4)
    for _ in range(8):
        sums = update(engine, failed, cache, players, parts=1)
    assert sums.paraphrase_logratio / 4 < -1.0
    passed = rows_of(players, [True] * 4)
    for _ in range(8):
        sums = update(engine, passed, cache, players, parts=1)
    assert sums.paraphrase_logratio / 4 > sums.source_logratio / 4 + 1.0


def test_the_reference_scores_each_source_once(players: Players) -> None:
    _, engine = engine_of(players, parts=1)
    cache = ReferenceCache()
    rows = rows_of(players, [True, True, False])
    update(engine, rows, cache, players, parts=1)
    assert cache.logps.keys() == {0, 1}
    known = dict(cache.logps)
    update(engine, rows, cache, players, parts=1)
    assert cache.logps == known


def test_rows_that_do_not_count_teach_nothing(players: Players) -> None:
    leader, engine = engine_of(players, parts=1)
    before = {name: value.detach().clone() for name, value in leader.trained().items()}
    sums = update(engine, [idle(row) for row in rows_of(players, [True])], ReferenceCache(), players, parts=1)
    assert sums.rows == 0
    assert all(torch.equal(value, before[name]) for name, value in leader.trained().items())


def test_a_loss_that_is_not_finite_ends_the_run_before_the_step(players: Players) -> None:
    leader, engine = engine_of(players, parts=1)
    first = next(iter(leader.trained().values()))
    with torch.no_grad():
        first.fill_(float("nan"))
    others = {name: value.detach().clone() for name, value in leader.trained().items() if value is not first}
    with pytest.raises(DivergedError, match="loss: not finite"):
        update(engine, rows_of(players, [True, False]), ReferenceCache(), players, parts=1)
    assert all(torch.equal(value, others[name]) for name, value in leader.trained().items() if value is not first)


@pytest.mark.parametrize(
    ("sources", "accumulation", "expected"), [(16, 1, 2), (7, 1, 1), (16, 2, 4), (16, 4, 4), (1, 1, 1)]
)
def test_parts_depend_on_the_spec_alone(sources: int, accumulation: int, expected: int) -> None:
    assert number_of_parts(sources, accumulation) == expected


def test_parts_hold_every_row_once_and_rows_of_like_length(players: Players) -> None:
    units = [(row,) for row in rows_of(players, [True] * 7)]
    parts = split(units, 3, idle_unit=units[0])
    assert sorted(row.source_row for part in parts for (row,) in part) == list(range(7))
    lengths = [max(len(row.prompt) + len(row.paraphrase) + len(row.source) for (row,) in part) for part in parts]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("kind", ["DPO", "OnlineDPO", "KTO", "NPO", "BCO", "IPO", "RAFT"])
@pytest.mark.parametrize("passed", [MIXED, [True] * 6, [False] * 6], ids=["mixed", "all passed", "all failed"])
def test_every_objective_teaches_the_same_in_parts(kind: str, passed: list[bool], tmp_path: Path, world: World) -> None:
    players = make_players(tmp_path, world, method={"type": kind}, leader={"sampling": {"paraphrasesPerSource": 2}})
    rows = rows_of(players, passed, per_source=2)
    whole, whole_sums = learnt(players, rows, parts=1)
    pieces, sums = learnt(players, rows, parts=3)
    for name, value in whole.items():
        # AdamW divides tiny slopes by their own size.
        torch.testing.assert_close(pieces[name], value, atol=1e-5, rtol=1e-3)
    assert sums.loss == pytest.approx(whole_sums.loss, rel=1e-5, abs=1e-6)
    learns = {"DPO": any(passed), "IPO": any(passed), "RAFT": any(passed), "NPO": not all(passed)}
    pairs = 4 if kind == "OnlineDPO" and passed == MIXED else 0
    expected = {"DPO": sum(passed), "IPO": sum(passed), "RAFT": sum(passed), "NPO": 6 - sum(passed), "OnlineDPO": pairs}
    assert sums.rows == expected.get(kind, 6)
    assert (sums.loss != 0) == learns.get(kind, pairs > 0 or kind != "OnlineDPO")


OPTIONS = {
    "length normalised": {"lengthNormalized": True},
    "KL": {"klWeight": 0.5},
    "pairs within a source": {"sro": {"pairWeight": 0.5}},
    "cap on failed rows": {"sro": {"failedWeightCap": 0.25}},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_change_what_is_learnt_and_not_how_it_is_divided(
    options: dict[str, Any], tmp_path: Path, world: World
) -> None:
    leader = {"sampling": {"paraphrasesPerSource": 2}}
    plain = make_players(tmp_path, world, leader=leader)
    players = make_players(tmp_path, world, method={"type": "SRO", **options}, leader=leader)
    rows = rows_of(players, [True, False, False, False, False, True], per_source=2)
    whole, whole_sums = learnt(players, rows, parts=1)
    pieces, sums = learnt(players, rows, parts=3)
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, atol=1e-5, rtol=1e-3)
    assert sums.loss == pytest.approx(whole_sums.loss, rel=1e-5)
    without, _ = learnt(plain, rows, parts=1)
    assert any(not torch.allclose(without[name], value, atol=1e-5) for name, value in whole.items())


def test_an_empty_paraphrase_is_a_row_of_log_ratio_zero(players: Players) -> None:
    rows = [replace(row, paraphrase=(), passed=False, weight=0.0) for row in rows_of(players, [False])]
    _, sums = learnt(players, rows, parts=1)
    assert sums.loss == pytest.approx(math.log(2))
    assert sums.paraphrase_logratio == 0.0


def test_a_tie_is_skipped_or_the_first_row_wins(players: Players) -> None:
    rows = rows_of(players, [True, True, False, False, False, True, True, True, False], per_source=3)

    def pairs(ties: Ties) -> list[tuple[int, int]]:
        return [(a.source_row, b.source_row) for a, b in chosen_and_rejected(rows, ties=ties)]

    assert pairs("skip") == [(0, 2), (5, 3), (6, 8)]
    assert pairs("firstWins") == [(0, 2), (5, 3), (6, 8)]
    two = rows_of(players, [True, True, False, False, True, False], per_source=2)
    assert [(a.source_row, b.source_row) for a, b in chosen_and_rejected(two, ties="skip")] == [(4, 5)]
    assert [(a.source_row, b.source_row) for a, b in chosen_and_rejected(two, ties="firstWins")] == [
        (0, 1),
        (2, 3),
        (4, 5),
    ]


def test_kto_compares_with_what_mismatched_pairs_gained(tmp_path: Path, world: World) -> None:
    players = make_players(tmp_path, world, method={"type": "KTO", "beta": 1.0}, guards={"anchorWeight": 0})
    _, engine = engine_of(players, parts=1, learning_rate=1e-2)
    rows = [replace(row, mismatched=row.paraphrase) for row in rows_of(players, [True])]
    for _ in range(5):
        sums = update(engine, rows, ReferenceCache(), players, parts=1)
    # The other text is the row's own: its log-ratio is the baseline, and the two cancel.
    assert sums.paraphrase_logratio > 1
    assert sums.loss == pytest.approx(0.5, abs=1e-6)


def test_bco_reads_the_mean_reward_of_earlier_steps(tmp_path: Path, world: World) -> None:
    players = make_players(tmp_path, world, method={"type": "BCO"}, guards={"anchorWeight": 0})
    _, engine = engine_of(players, parts=1)
    sums = update(engine, rows_of(players, [True, False]), ReferenceCache(), players, parts=1, mean_reward=0.5)
    assert sums.loss == pytest.approx(math.log1p(math.exp(0.5)) + math.log1p(math.exp(-0.5)), rel=1e-5)
