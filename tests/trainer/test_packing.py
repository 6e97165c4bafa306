"""Packed sequences: who sees whom, at which position, and what predicts each target token."""

from __future__ import annotations

from sro_trainer.packing import packed_rows


def test_targets_follow_their_prompt_and_restart_behind_it() -> None:
    packed = packed_rows([[1, 2, 3], [4]], [0, 0, 1], [[5, 6], [7, 8, 9], [10, 11]], filler=0)
    # The last token of a target predicts nothing and is left out.
    assert packed.ids.tolist() == [[1, 2, 3, 5, 7, 8], [4, 10, 0, 0, 0, 0]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 3, 4], [0, 1, 0, 0, 0, 0]]
    assert packed.segments.tolist() == [[0, 0, 0, 1, 2, 2], [0, 1, -1, -1, -1, -1]]


def test_each_target_token_is_predicted_by_the_one_before_it() -> None:
    packed = packed_rows([[1, 2, 3], [4]], [0, 1, 0], [[5, 6], [10], [7, 8, 9]], filler=0)
    assert packed.ids.flatten()[packed.predictors].tolist() == [3, 5, 4, 3, 7, 8]


def test_no_target_sees_another() -> None:
    packed = packed_rows([[1, 2]], [0, 0], [[3, 4, 5], [6, 7]], filler=0)
    assert packed.visible()[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_a_target_that_a_prompt_has_twice_is_read_once() -> None:
    packed = packed_rows([[1]], [0, 0, 0], [[2, 3], [4, 5], [2, 3]], filler=0)
    assert packed.ids.tolist() == [[1, 2, 4]]
    assert packed.predictors.tolist() == [0, 1, 0, 2, 0, 1]


def test_an_empty_target_takes_no_place() -> None:
    packed = packed_rows([[1, 2]], [0, 0], [[], [3, 4]], filler=0)
    assert packed.ids.tolist() == [[1, 2, 3]]
    assert packed.predictors.tolist() == [1, 2]


def test_padding_sees_itself_so_that_its_softmax_is_finite() -> None:
    visible = packed_rows([[1, 2, 3], [4]], [0, 1], [[5], [6]], filler=0).visible()
    assert bool(visible.any(-1).all())
