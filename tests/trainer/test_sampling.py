"""Drawing tokens: the right distribution, the right truncation, and a draw that depends on its seed alone."""

from __future__ import annotations

import pytest
import torch

from sro_api.training import SamplingSpec
from sro_trainer import sampling
from sro_trainer.sampling import GumbelSampler, row_seed, truncated

LOGITS = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.08, 0.02]]))


def kept(*, top_k: int = 0, top_p: float = 1.0) -> set[int]:
    ((rows, values, tokens),) = truncated(LOGITS, top_k=top_k, top_p=top_p)
    assert rows.tolist() == [0]
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
    monkeypatch.setattr(sampling, "WIDTHS", (1, 2))
    assert kept(top_p=top_p) == everything


def test_a_flat_row_does_not_change_the_draws_of_the_peaked_ones_beside_it() -> None:
    peaked, flat = torch.zeros(1, 5000), torch.zeros(1, 5000)
    peaked[0, 7:12] = 12.0
    # The nucleus of the flat row is most of the vocabulary, that of the peaked one five tokens.
    together, alone = GumbelSampler(SamplingSpec(), [1, 2]), GumbelSampler(SamplingSpec(), [1])
    for _ in range(8):
        first = together(torch.cat([peaked, flat]), [0, 1])[0]
        assert int(first) == int(alone(peaked, [0])[0])


def test_rows_that_left_the_batch_take_their_seeds_along() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 50)
    whole, fewer = GumbelSampler(SamplingSpec(), [1, 2, 3]), GumbelSampler(SamplingSpec(), [1, 2, 3])
    whole(scores, [0, 1, 2])
    fewer(scores, [0, 1, 2])
    assert int(whole(scores, [0, 1, 2])[2]) == int(fewer(scores[[2]], [2])[0])


@pytest.mark.parametrize(
    ("top_p", "probabilities"), [(0.9, [0.16, 0.09, 0.04, 0.0, 0.0]), (1.0, [0.16, 0.09, 0.04, 0.0064, 0.0004])]
)
def test_draws_follow_the_truncated_softmax(top_p: float, probabilities: list[float]) -> None:
    count = 20_000
    sampler = GumbelSampler(SamplingSpec(temperature=0.5, top_p=top_p), [row_seed("draw", row) for row in range(count)])
    drawn = sampler(LOGITS.expand(count, -1), range(count))
    shares = torch.bincount(drawn, minlength=5) / count
    # At temperature 0.5 probabilities are squared; of 0.16, 0.09, 0.04 ... the first two reach 0.9 of the sum only with the third.
    expected = torch.tensor(probabilities) / sum(probabilities)
    torch.testing.assert_close(shares, expected, atol=0.012, rtol=0.0)


def test_a_draw_does_not_depend_on_the_rows_beside_it() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 50)
    together = GumbelSampler(SamplingSpec(), [1, 2, 3])(logits, range(3))
    alone = GumbelSampler(SamplingSpec(), [2])(logits[1:2], [0])
    assert int(together[1]) == int(alone[0])


def test_global_random_state_neither_matters_nor_changes() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = GumbelSampler(SamplingSpec(), [9])(LOGITS, [0])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(GumbelSampler(SamplingSpec(), [9])(LOGITS, [0]), first)


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
