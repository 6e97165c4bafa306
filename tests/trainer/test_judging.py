"""Verdicts as the loss sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sro_trainer.distributed import World
from sro_trainer.judging import judge
from sro_trainer.rollout import Rollout
from sro_trainer.testing import make_players


def rollout_of(texts: list[str]) -> Rollout:
    return Rollout(
        sources=tuple("you are stupid" for _ in texts), source_rows=tuple(range(len(texts))), targets=tuple((1,) for _ in texts),
        paraphrases=tuple(texts), has_eos=tuple(True for _ in texts),
    )  # fmt: skip


def test_screener_and_guards_both_have_a_say(tmp_path: Path, world: World) -> None:
    players = make_players(tmp_path, world, passes=lambda text: "stupid" not in text)
    judged = judge(rollout_of(["you are late", "so stupid", "no", "you are stupid"]), players, step=0, first_row=0)
    assert judged.screener_passed.tolist() == [True, False, True, False]
    assert judged.guarded.passed.tolist() == [True, False, False, False]
    assert judged.guarded.used.tolist() == [True, True, True, False]


def test_errors_change_the_loss_and_not_the_figures_of_the_screener(tmp_path: Path, world: World) -> None:
    screener = {"perturbation": {"kind": "SymmetricFlips", "rate": 0.5}}
    players = make_players(tmp_path, world, passes=lambda text: "stupid" not in text, screener=screener)
    texts = ["you are late now", "so stupid", "we were late", "how stupid"] * 4
    judged = judge(rollout_of(texts), players, step=0, first_row=0)
    assert judged.screener_passed.tolist() == [True, False] * 8
    turned = judged.guarded.passed ^ judged.screener_passed
    assert judged.wrong == turned.sum() > 0
    assert judged.weights.tolist() == judged.guarded.passed.tolist()


def test_a_row_errs_on_whatever_rank_it_lies(tmp_path: Path, world: World) -> None:
    screener = {"perturbation": {"kind": "SymmetricFlips", "rate": 0.5}}
    players = make_players(tmp_path, world, screener=screener)
    texts = [f"we were late on day {day}" for day in range(8)]
    whole = judge(rollout_of(texts), players, step=7, first_row=0).guarded.passed.tolist()
    halves = [judge(rollout_of(texts[first : first + 4]), players, step=7, first_row=first) for first in (0, 4)]
    assert whole == [passed for half in halves for passed in half.guarded.passed.tolist()]
    assert whole != judge(rollout_of(texts), players, step=8, first_row=0).guarded.passed.tolist()


def test_what_a_guard_refuses_has_failed_for_certain(tmp_path: Path, world: World) -> None:
    noise = {"verdictNoise": {"correction": "known", "rate": 0.2}}
    players = make_players(tmp_path, world, passes=lambda text: "stupid" not in text, method=noise)
    judged = judge(rollout_of(["you are late", "so stupid", "no"]), players, step=0, first_row=0)
    assert judged.weights.tolist() == pytest.approx([0.8 / 0.6, -0.2 / 0.6, 0.0])
