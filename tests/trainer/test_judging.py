"""Verdicts as the loss sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sro_trainer.distributed import World
from sro_trainer.judging import judge, verdict_flips
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


def test_no_verdict_is_flipped_by_default() -> None:
    assert not verdict_flips(1000, rate=0.0, seed=0, step=0, first_row=0).any()


def test_the_asked_share_of_verdicts_is_flipped() -> None:
    flips = np.concatenate([verdict_flips(100, rate=0.2, seed=1, step=step, first_row=0) for step in range(50)])
    assert abs(flips.mean() - 0.2) < 0.02


def test_a_row_is_flipped_on_whatever_rank_it_lies() -> None:
    whole = verdict_flips(8, rate=0.5, seed=3, step=7, first_row=0)
    halves = [verdict_flips(4, rate=0.5, seed=3, step=7, first_row=first) for first in (0, 4)]
    assert whole.tolist() == np.concatenate(halves).tolist()
    assert whole.tolist() != verdict_flips(8, rate=0.5, seed=3, step=8, first_row=0).tolist()


def test_flips_change_the_loss_and_not_the_figures_of_the_screener(tmp_path: Path, world: World) -> None:
    players = make_players(tmp_path, world, passes=lambda text: "stupid" not in text, method={"verdictFlipRate": 0.5})
    texts = ["you are late now", "so stupid", "we were late", "how stupid"] * 4
    judged = judge(rollout_of(texts), players, step=0, first_row=0)
    assert judged.screener_passed.tolist() == [True, False] * 8
    flips = verdict_flips(16, rate=0.5, seed=0, step=0, first_row=0)
    assert judged.guarded.passed.tolist() == (judged.screener_passed ^ flips).tolist()
