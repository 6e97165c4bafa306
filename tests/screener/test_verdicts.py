"""Logits to scores and verdicts in the callers' order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sro_screener import reference, verdicts

LOGITS = np.array([[0.0, 0.0], [2.0, -1.0], [-1.0, 2.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("label_index", "activation", "threshold", "scores", "passed"),
    [
        (1, "softmax", 0.5, [0.5, 0.04742587, 0.95257413], [False, True, False]),
        (0, "softmax", 0.5, [0.5, 0.95257413, 0.04742587], [False, False, True]),
        (1, "sigmoid", 0.5, [0.5, 0.26894142, 0.880797], [False, True, False]),
        (1, "softmax", 0.51, [0.5, 0.04742587, 0.95257413], [True, True, False]),
        (1, "softmax", 0.0, [0.5, 0.04742587, 0.95257413], [False, False, False]),
        (1, "softmax", 1.0, [0.5, 0.04742587, 0.95257413], [True, True, True]),
    ],
)
def test_a_score_at_or_above_the_threshold_fails(
    label_index: int, activation: Any, threshold: float, scores: list[float], passed: list[bool]
) -> None:
    found, verdict = verdicts(LOGITS, label_index=label_index, activation=activation, threshold=threshold)
    assert found.dtype == np.float32
    assert np.abs(found - scores).max() < 1e-7
    assert verdict.tolist() == passed


def test_rows_go_to_the_places_of_the_permutation() -> None:
    places = np.array([2, 0, 1], dtype=np.int64)
    for permutation in (places, places.astype(np.int32)):
        scores, passed = verdicts(LOGITS, label_index=1, permutation=permutation)
        assert scores.round(3).tolist() == pytest.approx([0.047, 0.953, 0.5], abs=1e-6)
        assert passed.tolist() == [True, False, False]


@given(
    logits=hnp.arrays(np.float64, st.tuples(st.integers(0, 9), st.integers(1, 6)), elements=st.floats(-1e4, 1e4)),
    data=st.data(),
    activation=st.sampled_from(["softmax", "sigmoid"]),
    threshold=st.floats(0, 1),
)
@settings(max_examples=300, deadline=None)
def test_verdicts_are_those_of_the_readable_twin(
    logits: np.ndarray[Any, Any], data: st.DataObject, activation: Any, threshold: float
) -> None:
    rows, labels = logits.shape
    label_index = data.draw(st.integers(0, labels - 1))
    permutation = np.array(data.draw(st.permutations(range(rows))), dtype=np.int32)
    arguments: dict[str, Any] = {"label_index": label_index, "activation": activation, "threshold": threshold}
    scores, passed = verdicts(logits, **arguments, permutation=permutation)
    expected, _ = reference.verdicts(logits, **arguments, permutation=permutation.tolist())
    assert np.allclose(scores, expected, rtol=1e-6, atol=1e-12)
    assert np.array_equal(passed, scores < np.float32(threshold))


def test_a_view_that_is_not_contiguous_counts_like_its_copy() -> None:
    wide = np.arange(24, dtype=np.float64).reshape(4, 6)
    for view in (wide[:, ::2], wide.T, wide[::-1]):
        expected = verdicts(np.ascontiguousarray(view), label_index=1)[0]
        assert np.array_equal(verdicts(view, label_index=1)[0], expected)


def test_no_rows_have_no_verdicts() -> None:
    scores, passed = verdicts(np.zeros((0, 2), dtype=np.float32), label_index=1)
    assert (scores.shape, passed.shape) == ((0,), (0,))


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_logit_that_is_not_finite_is_an_error_that_names_it(bad: float, name: str, activation: Any) -> None:
    logits = np.zeros((5, 3), dtype=np.float32)
    logits[3, 2] = bad
    with pytest.raises(ValueError, match=rf"logits\[3, 2\]: {name} is not finite"):
        verdicts(logits, label_index=0, activation=activation)


@pytest.mark.parametrize(
    ("permutation", "message"),
    [
        ([0, 0, 1], r"permutation\[1\]: 0 is there twice"),
        ([0, 1, 3], r"permutation\[2\]: 3 is not in \[0, 3\)"),
        ([-1, 0, 1], r"permutation\[0\]: -1 is not in \[0, 3\)"),
        ([0, 1], "permutation: 2 places are not the 3 rows"),
    ],
)
def test_a_permutation_that_is_no_bijection_is_refused(permutation: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verdicts(LOGITS, label_index=1, permutation=np.array(permutation))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_index": 2}, "label_index: 2 is not below 2, the labels"),
        ({"label_index": -1}, "label_index: -1 is less than 0"),
        ({"label_index": 1, "threshold": 1.4}, r"threshold: 1.4 is not in \[0, 1\]"),
        ({"label_index": 1, "threshold": float("nan")}, r"threshold: NaN is not in \[0, 1\]"),
        ({"label_index": 1, "activation": "relu"}, 'activation: "relu" is not "softmax" or "sigmoid"'),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verdicts(LOGITS, **arguments)


@pytest.mark.parametrize("wrong", [np.zeros(3, dtype=np.float32), np.zeros((2, 2), dtype=np.int64), [[0.0, 1.0]]])
def test_another_kind_of_array_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="logits: is not a two-dimensional array of float32 or float64"):
        verdicts(wrong, label_index=0)
