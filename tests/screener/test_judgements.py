"""Calibrated probabilities, several labels, several screeners, margins; against formulas written with numpy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sro_screener import Isotonic, Platt, Temperature, combine, judge
from sro_screener.calibration import fit_isotonic, fit_platt, fit_temperature, log_odds_of

RNG = np.random.default_rng(3)


def softmax(logits: Any) -> Any:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(np.asarray(z, dtype=np.float64), -700, 700)))


@given(
    logits=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(0, 40), st.integers(1, 7)),
        elements=st.floats(-60, 60, width=32),
    ),
    data=st.data(),
    temperature=st.none() | st.floats(0.25, 8),
)
@settings(max_examples=300, deadline=None)
def test_scores_probabilities_margins_and_flags_are_those_of_numpy(
    logits: Any, data: st.DataObject, temperature: float | None
) -> None:
    rows, columns = logits.shape
    labels = data.draw(st.lists(st.integers(0, columns - 1), min_size=1, max_size=4))
    thresholds = data.draw(st.lists(st.floats(0, 1), min_size=len(labels), max_size=len(labels)))
    activation: Any = data.draw(st.sampled_from(["softmax", "sigmoid"]))
    permutation = np.array(data.draw(st.permutations(range(rows))), dtype=np.int32)
    calibration = None if temperature is None else Temperature(temperature=temperature)
    found = judge(
        logits,
        label_indices=labels,
        thresholds=thresholds,
        activation=activation,
        calibration=calibration,
        permutation=permutation,
    )
    apply = softmax if activation == "softmax" else sigmoid
    exact = logits.astype(np.float64)
    scores, cooled = (apply(exact / t) if rows else exact for t in (1.0, temperature or 1.0))
    assert np.allclose(found.scores[permutation], scores[:, labels], rtol=2e-6, atol=1e-10)
    assert np.allclose(found.probabilities[permutation], cooled[:, labels], rtol=5e-6, atol=1e-10)
    limits = np.array(thresholds, dtype=np.float32)
    below = limits - found.probabilities
    assert np.array_equal(found.margins, below.min(axis=1))
    assert np.array_equal(found.passed, (found.probabilities < limits).all(axis=1))
    assert np.array_equal(found.passed, found.margins > 0)
    bits = ((found.probabilities >= limits) * (1 << np.arange(len(labels)))).sum(axis=1)
    assert np.array_equal(found.flags, bits)
    assert len(found) == rows


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_platt_is_a_line_through_the_log_odds(activation: Any) -> None:
    logits = RNG.normal(scale=4, size=(50, 4))
    found = judge(
        logits, label_indices=[2], thresholds=[0.5], activation=activation, calibration=Platt(slope=0.6, intercept=-0.3)
    )
    scores = softmax(logits) if activation == "softmax" else sigmoid(logits)
    odds = np.log(scores[:, 2] / (1 - scores[:, 2]))
    assert np.allclose(found.probabilities[:, 0], sigmoid(0.6 * odds - 0.3), atol=1e-6)
    assert np.allclose(found.scores[:, 0], scores[:, 2], atol=1e-6)


def test_isotonic_is_numpys_interpolation() -> None:
    logits = RNG.normal(scale=3, size=(200, 2)).astype(np.float32)
    points = Isotonic(scores=(0.1, 0.3, 0.7, 0.9), probabilities=(0.0, 0.2, 0.2, 1.0))
    found = judge(logits, label_indices=[1], thresholds=[0.5], calibration=points)
    expected = np.interp(found.scores[:, 0], points.scores, points.probabilities)
    assert np.allclose(found.probabilities[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 15, 16, 36])
def test_a_logit_that_is_not_finite_is_never_a_verdict(bad: float, row: int) -> None:
    logits = np.zeros((37, 6), dtype=np.float32)
    logits[row, 5] = bad
    with pytest.raises(ValueError, match=rf"logits\[{row}, 5\]: .* is not finite"):
        judge(logits, label_indices=[0], thresholds=[0.5])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"label_indices": [], "thresholds": []}, ValueError, "labels: 0 are not 1 to 32"),
        ({"thresholds": [0.5, 0.5]}, ValueError, "thresholds: 2 are not one for each of 1 labels"),
        ({"calibration": 3}, TypeError, "calibration: is not a Temperature, a Platt or an Isotonic"),
        ({"calibration": Temperature(temperature=0.0)}, ValueError, "temperature: 0 is not above 0 and finite"),
        ({"calibration": Platt(slope=-1.0, intercept=0.0)}, ValueError, "slope: -1 is not above 0 and finite"),
        (
            {"calibration": Isotonic(scores=(0.5,), probabilities=(2.0,))},
            ValueError,
            r"probabilities\[0\]: 2 is not in",
        ),
    ],
)
def test_what_breaks_a_rule_is_named(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"label_indices": [1], "thresholds": [0.5], **changes}
    with pytest.raises(error, match=message):
        judge(np.zeros((2, 2)), **arguments)


def sample(slope: float, intercept: float, count: int = 20_000) -> tuple[Any, Any]:
    log_odds = RNG.normal(scale=2, size=count)
    return log_odds, RNG.random(count) < sigmoid(slope * log_odds + intercept)


def test_a_fit_finds_what_made_the_labels() -> None:
    platt = fit_platt(*sample(0.5, -1.0))
    assert platt.slope == pytest.approx(0.5, abs=0.05)
    assert platt.intercept == pytest.approx(-1.0, abs=0.06)
    assert fit_temperature(*sample(0.5, 0.0)).temperature == pytest.approx(2.0, abs=0.2)
    log_odds, is_toxic = sample(0.5, -1.0)
    points = fit_isotonic(sigmoid(log_odds), is_toxic)
    assert np.interp(sigmoid(1.0), points.scores, points.probabilities) == pytest.approx(sigmoid(-0.5), abs=0.06)
    judge(np.zeros((1, 2)), label_indices=[1], thresholds=[0.5], calibration=points)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_an_isotonic_fit_is_that_of_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    from sklearn.isotonic import IsotonicRegression

    scores = np.array([score / 20 for score, _ in pairs], dtype=np.float32)
    is_toxic = np.array([label for _, label in pairs])
    points = fit_isotonic(scores, is_toxic)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, is_toxic)
    assert np.allclose(np.interp(scores, points.scores, points.probabilities), theirs.predict(scores), atol=1e-6)


def test_a_side_without_texts_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="is_toxic: has 0 toxic and 3 other texts"):
        fit_platt(np.zeros(3), np.zeros(3, dtype=bool))
    with pytest.raises(ValueError, match="higher scores are less toxic"):
        fit_platt(np.array([-1.0, 1.0] * 20), np.array([True, False] * 20))
    assert np.isfinite(log_odds_of([0.0, 0.5, 1.0])).all()


def test_several_screeners_give_one_verdict() -> None:
    screeners = [np.array([0.1, 0.1, 0.9, 0.9], np.float32), np.array([0.1, 0.9, 0.2, 0.9], np.float32)]

    def passed(rule: Any, thresholds: list[float], **more: Any) -> list[bool]:
        probabilities, margins, verdict = combine(screeners, rule=rule, thresholds=thresholds, **more)
        assert np.array_equal(verdict, margins > 0)
        assert probabilities.shape == (4,)
        return list(verdict.tolist())

    assert passed("any", [0.5, 0.5]) == [True, False, False, False]
    assert passed("all", [0.5, 0.5]) == [True, True, True, False]
    assert passed("mean", [0.5]) == [True, False, False, False]
    assert passed("weighted", [0.5], weights=[1, 3]) == [True, False, True, False]
    assert combine(screeners, rule="mean", thresholds=[0.5])[0][2] == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "most", "thresholds": [0.5]}, 'rule: "most" is not|weights: none is given'),
        ({"rule": "any", "thresholds": [0.5, 0.5]}, "thresholds: 2 are not one for each of 1 screeners"),
        ({"rule": "mean", "thresholds": []}, "thresholds: 0 are not the one of rule"),
        ({"rule": "weighted", "thresholds": [0.5]}, "weights: none is given"),
        ({"rule": "any", "thresholds": [0.5], "weights": [1.0]}, "weights: given is only for rule"),
        ({"rule": "any", "thresholds": [1.5]}, r"threshold: 1.5 is not in \[0, 1\]"),
    ],
)
def test_a_combination_that_does_not_fit_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combine([np.zeros(2, np.float32)], **arguments)


def test_a_probability_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"probabilities\[1\]\[1\]: NaN is not in"):
        combine([np.zeros(2, np.float32), np.array([0, np.nan], np.float32)], rule="any", thresholds=[0.5, 0.5])
