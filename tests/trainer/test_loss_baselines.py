"""The objectives that SRO is compared with: value and slope by hand, far from zero, and where algebra makes two of them one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from sro_trainer.loss import (
    Scores,
    bco_loss,
    dpo_loss,
    ipo_loss,
    kto_loss,
    npo_loss,
    online_dpo_loss,
    sft_loss,
    sro_loss,
)
from sro_trainer.testing import make_scores

Loss = Callable[[Scores], Tensor]

KTO = partial(kto_loss, beta=0.5, passed_weight=2.0, failed_weight=3.0)
LOSSES: dict[str, Loss] = {
    "SRO": partial(sro_loss, beta=0.1, epsilon=0.1),
    "DPO": partial(dpo_loss, beta=0.1, epsilon=0.0),
    "OnlineDPO": partial(online_dpo_loss, beta=0.1, epsilon=0.0),
    "KTO": KTO,
    "NPO": partial(npo_loss, beta=0.1),
    "BCO": partial(bco_loss, beta=0.1),
    "IPO": partial(ipo_loss, beta=0.1),
    "SFT": sft_loss,
}
READS_SOURCE = ("SRO", "DPO", "IPO")


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def value_and_slopes(
    loss: Loss, paraphrase: list[float], weight: list[float], **fields: object
) -> tuple[list[float], list[float]]:
    r = torch.tensor(paraphrase, dtype=torch.float64, requires_grad=True)
    losses = loss(make_scores(r, weight, **fields))  # type: ignore[arg-type]
    torch.autograd.backward(losses.sum())
    assert r.grad is not None
    return losses.tolist(), r.grad.tolist()


def test_dpo_learns_from_passed_rows_alone() -> None:
    loss = partial(dpo_loss, beta=0.5, epsilon=0.0)
    values, slopes = value_and_slopes(loss, [2.0, 7.0], [1, 0], source=[-2.0])
    assert values == pytest.approx([math.log1p(math.exp(-2.0)), 0.0])
    assert slopes == pytest.approx([-0.5 * sigmoid(-2.0), 0.0])


def test_dpo_is_sro_where_everything_passes() -> None:
    scores = make_scores([2.0, -7.0, 0.3], [1, 1, 1], source=[-2.0, 1.0, 0.0])
    torch.testing.assert_close(dpo_loss(scores, beta=0.2, epsilon=0.1), sro_loss(scores, beta=0.2, epsilon=0.1))


def test_online_dpo_weighs_the_chosen_row_against_the_rejected_one_on_both_rows() -> None:
    loss = partial(online_dpo_loss, beta=0.5, epsilon=0.0)
    values, slopes = value_and_slopes(loss, [3.0, 1.0, 0.0, 4.0], [1, 0, 1, 0])
    first, second = math.log1p(math.exp(-1.0)), math.log1p(math.exp(2.0))
    assert values == pytest.approx([first, first, second, second])
    assert slopes == pytest.approx([-sigmoid(-1.0), sigmoid(-1.0), -sigmoid(2.0), sigmoid(2.0)])


def test_kto_values_rows_by_their_verdict_about_its_baseline() -> None:
    values, slopes = value_and_slopes(KTO, [3.0, 3.0], [1, 0], shift=1.0)
    s = sigmoid(1.0)
    assert values == pytest.approx([2.0 * (1 - s), 3.0 * s])
    assert slopes == pytest.approx([-2.0 * 0.5 * s * (1 - s), 3.0 * 0.5 * s * (1 - s)])


def test_kto_saturates_on_both_sides() -> None:
    _, slopes = value_and_slopes(KTO, [900.0, -900.0, 900.0, -900.0], [1, 1, 0, 0])
    assert max(abs(slope) for slope in slopes) < 1e-100


def test_npo_learns_from_failed_rows_alone() -> None:
    values, slopes = value_and_slopes(partial(npo_loss, beta=0.5), [2.0, 7.0], [0, 1])
    assert values == pytest.approx([4.0 * math.log1p(math.exp(1.0)), 0.0])
    assert slopes == pytest.approx([2 * sigmoid(1.0), 0.0])


def test_bco_compares_rewards_with_their_mean() -> None:
    values, slopes = value_and_slopes(partial(bco_loss, beta=0.5), [2.0, 2.0], [1, 0], shift=0.4)
    assert values == pytest.approx([math.log1p(math.exp(-0.6)), math.log1p(math.exp(0.6))])
    assert slopes == pytest.approx([-0.5 * sigmoid(-0.6), 0.5 * sigmoid(0.6)])


def test_at_no_mean_reward_bco_rejects_as_sro_fails_without_smoothing() -> None:
    scores = make_scores([1.3, -6.0], [0, 0])
    torch.testing.assert_close(bco_loss(scores, beta=0.3), sro_loss(scores, beta=0.3, epsilon=0.0))


def test_ipo_aims_at_a_margin_of_half_the_inverse_of_beta() -> None:
    values, slopes = value_and_slopes(partial(ipo_loss, beta=0.25), [3.0, 1.0, 9.0], [1, 1, 0], source=[1.0, 0.0])
    assert values == pytest.approx([0.0, 1.0, 0.0])
    assert slopes == pytest.approx([0.0, -2.0, 0.0])


def test_likelihood_counts_for_rows_taken_for_good() -> None:
    nll = torch.tensor([3.0, 5.0], dtype=torch.float64, requires_grad=True)
    losses = sft_loss(make_scores([0.0, 0.0], [1, 0], nll=nll))
    torch.autograd.backward(losses.sum())
    assert losses.tolist() == [3.0, 0.0]
    assert nll.grad is not None
    assert nll.grad.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weight", [[1, 1], [0, 0], [1, 0]], ids=["all passed", "all failed", "one of each"])
@pytest.mark.parametrize("size", [9000.0, -9000.0, 0.0])
def test_every_loss_and_slope_is_finite_far_from_zero_and_whatever_passes(
    name: str, weight: list[float], size: float
) -> None:
    r = torch.tensor([size, -size], dtype=torch.float32, requires_grad=True)
    source = [-size] * int(sum(weight)) if name in READS_SOURCE else None
    nll = r.abs()
    losses = LOSSES[name](make_scores(r, weight, source=source, nll=nll))
    torch.autograd.backward(losses.sum())
    assert torch.isfinite(losses).all()
    assert r.grad is None or bool(torch.isfinite(r.grad).all())
