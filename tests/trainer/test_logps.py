"""Log-probabilities against torch's own, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sro_trainer import logps
from sro_trainer.logps import head_logps, k3_divergence, mean_nll, per_token_logps


def test_each_masked_in_token_gets_its_own_log_probability() -> None:
    labels, mask = torch.tensor([[1, 0], [2, 9]]), torch.tensor([[True, True], [True, False]])
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]))
    expected = [[math.log(0.5), math.log(0.7)], [math.log(0.5), 0.0]]
    torch.testing.assert_close(per_token_logps(logits, labels, mask), torch.tensor(expected))


def test_the_gradient_equals_that_of_log_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logps, "TOKENS_AT_ONCE", 3)
    torch.manual_seed(0)
    logits = torch.randn(8, 11, dtype=torch.float64).float().requires_grad_()
    labels, mask, weights = torch.randint(0, 11, (2, 4)), torch.ones(2, 4, dtype=torch.bool), torch.randn(2, 4)
    torch.autograd.backward((per_token_logps(logits, labels, mask) * weights).sum())
    plain = logits.detach().clone().requires_grad_()
    torch.autograd.backward((plain.log_softmax(-1).gather(-1, labels.reshape(-1, 1)).reshape(2, 4) * weights).sum())
    torch.testing.assert_close(logits.grad, plain.grad)


def test_bfloat16_logits_are_summed_in_float32() -> None:
    torch.manual_seed(0)
    logits = torch.randn(128, 50).bfloat16()
    labels, mask = torch.randint(0, 50, (1, 128)), torch.ones(1, 128, dtype=torch.bool)
    exact = logits.double().log_softmax(-1).gather(-1, labels.reshape(-1, 1)).sum()
    assert float(per_token_logps(logits, labels, mask).sum()) == pytest.approx(float(exact), abs=1e-3)


def test_a_row_without_tokens_is_zero_and_costs_nothing() -> None:
    logits = torch.zeros(2, 5, requires_grad=True)
    mask = torch.tensor([[True, True], [False, False]])
    result = per_token_logps(logits, torch.zeros(2, 2, dtype=torch.long), mask)
    assert result[1].tolist() == [0.0, 0.0]
    assert mean_nll(result, mask).tolist() == pytest.approx([math.log(5), 0.0])


def test_k3_is_zero_for_equal_models_and_positive_otherwise() -> None:
    policy, reference = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.5, -2.0]])
    assert float(k3_divergence(policy, policy)) == 0.0
    assert float(k3_divergence(policy, reference)) == pytest.approx(math.exp(-0.5) - 1 + 0.5)


def test_k3_stays_finite_when_the_models_have_parted() -> None:
    assert math.isfinite(float(k3_divergence(torch.tensor([[-500.0]]), torch.tensor([[-1.0]]))))


@pytest.mark.parametrize("learns", [False, True], ids=["frozen head", "learning head"])
@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "bias"])
def test_a_head_in_pieces_equals_a_head_in_one(learns: bool, biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logps, "TOKENS_AT_ONCE", 3)
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    labels, upstream = torch.randint(0, 11, (2, 4)), torch.randn(2, 4)
    hidden, weight = torch.randn(7, 5), torch.randn(11, 5)
    bias = torch.randn(11) if biased else None

    def learnt(in_pieces: bool) -> tuple[Tensor, list[Tensor | None]]:
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_(learns)
        b = bias.clone().requires_grad_(learns) if bias is not None else None
        values = (
            head_logps(h, w, b, labels, mask)
            if in_pieces
            else per_token_logps(torch.nn.functional.linear(h, w, b), labels, mask)
        )
        torch.autograd.backward((values * upstream).sum())
        return values.detach(), [t.grad for t in (h, w, *([b] if b is not None else []))]

    (ours, our_gradients), (plain, plain_gradients) = learnt(True), learnt(False)
    torch.testing.assert_close(ours, plain)
    for our_gradient, gradient in zip(our_gradients, plain_gradients, strict=True):
        assert (our_gradient is None) == (gradient is None)
        if our_gradient is not None and gradient is not None:
            torch.testing.assert_close(our_gradient, gradient, atol=1e-5, rtol=1e-5)
