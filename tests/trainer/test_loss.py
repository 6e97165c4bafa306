"""The loss against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sro_trainer.loss import anchored_loss, sro_loss, sro_margin


def margin_of(paraphrase: float, source: float, *, passed: bool, beta: float = 0.1) -> float:
    sources = torch.tensor([source] if passed else [])
    return float(sro_margin(torch.tensor([paraphrase]), sources, torch.tensor([passed]), beta=beta))


def gradient_at(margin: float, *, epsilon: float = 0.1) -> float:
    h = torch.tensor([margin], dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(sro_loss(h, epsilon=epsilon).sum())
    assert h.grad is not None
    return float(h.grad)


def test_a_passed_paraphrase_is_weighed_against_its_source() -> None:
    assert margin_of(2.0, -3.0, passed=True) == pytest.approx(0.1 * 5.0)


def test_a_failed_paraphrase_is_pushed_down_alone() -> None:
    assert margin_of(2.0, -3.0, passed=False) == pytest.approx(-0.2)


def test_margins_stay_in_the_order_of_the_rows() -> None:
    passed = torch.tensor([False, True, False, True])
    margins = sro_margin(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([10.0, 20.0]), passed, beta=0.5)
    assert margins.tolist() == pytest.approx([-0.5, -4.0, -1.5, -8.0])


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0.0, math.log(2)), (1.0, 0.3132617 + 0.1), (-2.0, 2.1269280 - 0.2)],
    ids=["at zero", "preferred", "dispreferred"],
)
def test_the_loss_has_the_value_worked_out_by_hand(margin: float, expected: float) -> None:
    assert float(sro_loss(torch.tensor([margin]), epsilon=0.1)) == pytest.approx(expected, abs=1e-6)


def test_the_loss_equals_its_log_sigmoid_form() -> None:
    h = torch.linspace(-30, 30, 121, dtype=torch.float64)
    other = -(1 - 0.1) * F.logsigmoid(h) - 0.1 * F.logsigmoid(-h)
    torch.testing.assert_close(sro_loss(h, epsilon=0.1), other)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0.0, -0.4), (math.log(9), 0.0), (900.0, 0.1), (-900.0, -0.9)],
    ids=["start", "optimum", "far up", "far down"],
)
def test_the_gradient_has_the_value_worked_out_by_hand(margin: float, expected: float) -> None:
    assert gradient_at(margin) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("margin", [900.0, -900.0])
def test_the_loss_is_finite_far_from_zero(margin: float) -> None:
    assert float(sro_loss(torch.tensor([margin]), epsilon=0.1)) == pytest.approx(90.0 if margin > 0 else 810.0)


def test_without_smoothing_a_failed_row_costs_half_of_negative_preference_optimisation() -> None:
    beta, r = 0.3, torch.tensor([1.7, -4.0])
    margins = sro_margin(r, torch.tensor([]), torch.tensor([False, False]), beta=beta)
    npo = (2 / beta) * F.softplus(beta * r)
    torch.testing.assert_close(sro_loss(margins, epsilon=0.0), (beta / 2) * npo)


@pytest.mark.parametrize(
    "passed", [[False, False], [True, True], [True, False]], ids=["all failed", "all passed", "one of each"]
)
def test_gradients_are_finite_whatever_passes(passed: list[bool]) -> None:
    r = torch.tensor([0.5, -0.5], requires_grad=True)
    sources = torch.zeros(sum(passed), requires_grad=True)
    torch.autograd.backward(sro_loss(sro_margin(r, sources, torch.tensor(passed), beta=0.1), epsilon=0.1).sum())
    assert r.grad is not None
    assert r.grad.tolist() == pytest.approx([
        0.1 * gradient_at(0.05) if passed[0] else -0.1 * gradient_at(-0.05),
        0.1 * gradient_at(-0.05) if passed[1] else -0.1 * gradient_at(0.05),
    ])  # fmt: skip


def test_gradients_reach_a_source_only_where_its_paraphrase_passed() -> None:
    sources = torch.tensor([0.3], requires_grad=True)
    margins = sro_margin(torch.tensor([1.0, 2.0]), sources, torch.tensor([False, True]), beta=0.1)
    torch.autograd.backward(sro_loss(margins, epsilon=0.1).sum())
    assert sources.grad is not None
    assert sources.grad.tolist() == pytest.approx([-0.1 * gradient_at(0.17)])


def test_the_anchor_counts_for_passed_rows_alone() -> None:
    margin = torch.zeros(2)
    losses = anchored_loss(
        margin, torch.tensor([3.0, 5.0]), torch.tensor([True, False]), epsilon=0.1, anchor_weight=0.2
    )
    assert losses.tolist() == pytest.approx([math.log(2) + 0.6, math.log(2)])
