"""Drawing tokens: the right distribution, the right truncation, and a draw that depends on its seed alone."""

from __future__ import annotations

import pytest
import torch

from sro_api.training import SamplingSpec
from sro_trainer import sampling
from sro_trainer.sampling import GumbelSampler, row_seed, truncated

LOGITS = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.08, 0.02]]))


def kept(*, top_k: int = 0, top_p: float = 1.0) -> set[int]:
    values, tokens = truncated(LOGITS, top_k=top_k, top_p=top_p)
    return {int(token) for token, value in zip(tokens[0], values[0], strict=True) if torch.isfinite(value)}


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, {0, 1, 2, 3, 4}),
        (2, 1.0, {0, 1}),
        (0, 0.6, {0, 1}),
        (0, 0.75, {0, 1, 2}),
        (0, 0.01, {0}),
        (2, 0.5, {0}),
        (3, 0.99, {0, 1, 2}),
    ],
    ids=["all", "top-k", "nucleus", "smallest set that reaches it", "never nothing", "nucleus of the top-k", "both"],
)
def test_truncation_keeps_the_right_tokens(top_k: int, top_p: float, expected: set[int]) -> None:
    assert kept(top_k=top_k, top_p=top_p) == expected


@pytest.mark.parametrize("top_p", [0.75, 0.999, 1.0])
def test_few_candidates_give_what_all_of_them_give(top_p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = kept(top_p=top_p)
    monkeypatch.setattr(sampling, "CANDIDATES", 2)
    assert kept(top_p=top_p) == everything


def test_draws_follow_the_truncated_softmax() -> None:
    count = 20_000
    sampler = GumbelSampler(SamplingSpec(temperature=0.5, top_p=0.9), [row_seed("draw", row) for row in range(count)])
    drawn = sampler(torch.zeros(count, 1, dtype=torch.long), LOGITS.expand(count, -1)).argmax(-1)
    shares = torch.bincount(drawn, minlength=5) / count
    # At temperature 0.5 probabilities are squared; of 0.16, 0.09, 0.04 ... the first two reach 0.9 of the sum only with the third.
    expected = torch.tensor([0.16, 0.09, 0.04, 0.0, 0.0]) / 0.29
    torch.testing.assert_close(shares, expected, atol=0.012, rtol=0.0)


def test_a_draw_does_not_depend_on_the_rows_beside_it() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 50)
    ids = torch.zeros(3, 1, dtype=torch.long)
    together = GumbelSampler(SamplingSpec(), [1, 2, 3])(ids, logits).argmax(-1)
    alone = GumbelSampler(SamplingSpec(), [2])(ids[1:2], logits[1:2]).argmax(-1)
    assert int(together[1]) == int(alone[0])


def test_global_random_state_neither_matters_nor_changes() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = GumbelSampler(SamplingSpec(), [9])(torch.zeros(1, 1, dtype=torch.long), LOGITS)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(GumbelSampler(SamplingSpec(), [9])(torch.zeros(1, 1, dtype=torch.long), LOGITS), first)


def test_seeds_differ_by_every_part_of_their_name() -> None:
    assert (
        len(
            {
                row_seed(0, "sample", 1, 2),
                row_seed(0, "sample", 2, 1),
                row_seed(1, "sample", 1, 2),
                row_seed(0, "warm", 1, 2),
            }
        )
        == 4
    )
