"""The Stackelberg response loss against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sro_trainer.loss import npo_loss, smoothed, sro_loss
from sro_trainer.testing import make_scores


def slope(margin: float, *, epsilon: float = 0.1) -> float:
    """sigmoid(h) - (1 - epsilon)."""
    return 1 / (1 + math.exp(-margin)) - (1 - epsilon)


def loss_of(paraphrase: float, weight: float, *, source: float = 0.0) -> float:
    scores = make_scores([paraphrase], [weight], source=[source] if weight else [])
    return float(sro_loss(scores, beta=0.1, epsilon=0.1))


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0.0, math.log(2)), (1.0, 0.3132617 + 0.1), (-2.0, 2.1269280 - 0.2)],
    ids=["at zero", "preferred", "dispreferred"],
)
def test_the_smoothed_loss_has_the_value_worked_out_by_hand(margin: float, expected: float) -> None:
    assert float(smoothed(torch.tensor([margin]), epsilon=0.1)) == pytest.approx(expected, abs=1e-6)


def test_the_smoothed_loss_equals_its_log_sigmoid_form() -> None:
    h = torch.linspace(-30, 30, 121, dtype=torch.float64)
    other = -(1 - 0.1) * F.logsigmoid(h) - 0.1 * F.logsigmoid(-h)
    torch.testing.assert_close(smoothed(h, epsilon=0.1), other)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0.0, -0.4), (math.log(9), 0.0), (900.0, 0.1), (-900.0, -0.9)],
    ids=["start", "optimum", "far up", "far down"],
)
def test_its_gradient_has_the_value_worked_out_by_hand(margin: float, expected: float) -> None:
    h = torch.tensor([margin], dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(smoothed(h, epsilon=0.1).sum())
    assert h.grad is not None
    assert float(h.grad) == pytest.approx(expected, abs=1e-12)


def test_a_passed_paraphrase_is_weighed_against_its_source() -> None:
    assert loss_of(2.0, 1.0, source=-3.0) == pytest.approx(math.log1p(math.exp(-0.5)) + 0.05)


def test_a_failed_paraphrase_is_pushed_down_alone() -> None:
    assert loss_of(2.0, 0.0) == pytest.approx(math.log1p(math.exp(0.2)) - 0.02)


def test_a_soft_verdict_lies_between_the_two() -> None:
    scores = make_scores([2.0], [0.25], source=[-3.0])
    soft = float(sro_loss(scores, beta=0.1, epsilon=0.1))
    assert soft == pytest.approx(0.25 * loss_of(2.0, 1.0, source=-3.0) + 0.75 * loss_of(2.0, 0.0))


def test_losses_stay_in_the_order_of_the_rows() -> None:
    scores = make_scores([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], source=[10.0, 20.0])
    margins = torch.tensor([-0.5, -4.0, -1.5, -8.0], dtype=torch.float64)
    torch.testing.assert_close(sro_loss(scores, beta=0.5, epsilon=0.1), smoothed(margins, epsilon=0.1))


@pytest.mark.parametrize(
    ("paraphrase", "weight", "expected"), [(9000.0, 0.0, 810.0), (-9000.0, 0.0, 90.0), (9000.0, 1.0, 90.0)]
)
def test_the_loss_is_finite_far_from_zero(paraphrase: float, weight: float, expected: float) -> None:
    assert loss_of(paraphrase, weight) == pytest.approx(expected)


def test_without_smoothing_a_failed_row_costs_half_of_negative_preference_optimisation() -> None:
    scores = make_scores([1.7, -4.0], [0, 0])
    torch.testing.assert_close(sro_loss(scores, beta=0.3, epsilon=0.0), 0.3 / 2 * npo_loss(scores, beta=0.3))


@pytest.mark.parametrize("weight", [[0, 0], [1, 1], [1, 0]], ids=["all failed", "all passed", "one of each"])
def test_gradients_are_finite_whatever_passes(weight: list[float]) -> None:
    r = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    scores = make_scores(r, weight, source=[0.0] * int(sum(weight)))
    torch.autograd.backward(sro_loss(scores, beta=0.1, epsilon=0.1).sum())
    assert r.grad is not None
    assert r.grad.tolist() == pytest.approx([
        0.1 * slope(0.05) if weight[0] else -0.1 * slope(-0.05), 0.1 * slope(-0.05) if weight[1] else -0.1 * slope(0.05)
    ])  # fmt: skip


def test_gradients_reach_a_source_only_where_its_paraphrase_passed() -> None:
    sources = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(sro_loss(make_scores([1.0, 2.0], [0, 1], source=sources), beta=0.1, epsilon=0.1).sum())
    assert sources.grad is not None
    assert sources.grad.tolist() == pytest.approx([-0.1 * slope(0.17)])


def test_a_failed_source_that_is_not_finite_poisons_nothing() -> None:
    r = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(sro_loss(make_scores(r, [0, 1], source=[0.0]), beta=0.1, epsilon=0.1).sum())
    assert r.grad is not None
    assert torch.isfinite(r.grad).all()


def test_the_failed_side_alone_is_scaled_by_its_cap() -> None:
    whole = sro_loss(make_scores([1.0, 2.0], [0, 1], source=[0.0]), beta=0.1, epsilon=0.1)
    capped = sro_loss(make_scores([1.0, 2.0], [0, 1], source=[0.0], failed_scale=0.25), beta=0.1, epsilon=0.1)
    assert capped.tolist() == pytest.approx([0.25 * float(whole[0]), float(whole[1])])


def test_passed_and_failed_paraphrases_of_one_source_make_pairs() -> None:
    group = torch.tensor([0, 0, 0, 1, 1])
    scores = make_scores([1.0, 2.0, 3.0, 4.0, 5.0], [1, 0, 0, 1, 1], source=[0.0, 0.0, 0.0], group=group)
    plain = sro_loss(scores, beta=0.1, epsilon=0.1)
    paired = sro_loss(scores, beta=0.1, epsilon=0.1, pair_weight=2.0, group_size=3)
    pairs = smoothed(torch.tensor([-0.1, -0.2], dtype=torch.float64), epsilon=0.1).sum()
    assert (paired - plain).tolist() == pytest.approx([float(pairs), 0, 0, 0, 0])


def test_a_group_of_one_verdict_makes_no_pairs() -> None:
    scores = make_scores([1.0, 2.0], [0, 0], group=torch.tensor([0, 0]))
    plain = sro_loss(scores, beta=0.1, epsilon=0.1)
    torch.testing.assert_close(sro_loss(scores, beta=0.1, epsilon=0.1, pair_weight=1.0, group_size=2), plain)
