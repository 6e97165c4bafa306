"""Each guard refuses what it is for, and says so by name."""

from __future__ import annotations

import numpy as np
import pytest

from sro_api.training import GuardsSpec, SimilaritySpec
from sro_trainer.guards import REFUSALS, Guarded, apply_guards, is_copy

SOURCE = "you are wrong, idiot"
GOOD = "I think you are wrong"


def guard(
    paraphrase: str,
    *,
    passed: bool = True,
    similarity: float | None = 0.9,
    fluency: float | None = None,
    has_eos: bool = True,
    **spec: object,
) -> Guarded:
    return apply_guards(
        [SOURCE],
        [paraphrase],
        np.array([passed]),
        None if similarity is None else np.array([similarity], dtype=np.float32),
        np.array([has_eos]),
        GuardsSpec(**spec),
        fluencies=None if fluency is None else np.array([fluency]),
    )


def unguarded(paraphrase: str, *, similarity: float) -> Guarded:
    measured = np.array([similarity], dtype=np.float32)
    return apply_guards(
        [SOURCE], [paraphrase], np.array([True]), measured, np.array([True]), GuardsSpec(similarity=None)
    )


@pytest.mark.parametrize(
    ("case", "name", "used"),
    [
        pytest.param(lambda: guard(GOOD), "passed", True, id="good"),
        pytest.param(lambda: guard(GOOD, passed=False), "screener", True, id="failed by the screener"),
        pytest.param(lambda: guard(""), "empty", True, id="empty"),
        pytest.param(lambda: guard(" \n"), "empty", True, id="white space"),
        pytest.param(lambda: guard("", min_characters=0), "empty", True, id="empty fails whatever the minimum"),
        pytest.param(lambda: guard("ok"), "short", True, id="two characters"),
        pytest.param(lambda: guard("yes"), "passed", True, id="three characters"),
        pytest.param(lambda: guard("ok", min_characters=2), "passed", True, id="the minimum is inclusive"),
        pytest.param(lambda: guard(GOOD, has_eos=False), "unfinished", True, id="cut"),
        pytest.param(lambda: guard(GOOD, has_eos=False, require_eos=False), "passed", True, id="cut, allowed"),
        pytest.param(lambda: guard(GOOD, similarity=0.59), "dissimilar", True, id="drifted"),
        pytest.param(lambda: guard(GOOD, similarity=0.61), "passed", True, id="just similar"),
        pytest.param(lambda: guard(GOOD, similarity=None), "passed", True, id="no similarity given"),
        pytest.param(lambda: guard(GOOD, fluency=0.29), "disfluent", True, id="no person's sentence"),
        pytest.param(lambda: guard(GOOD, fluency=0.3), "passed", True, id="at the floor of fluency"),
        pytest.param(
            lambda: guard(GOOD, fluency=0.1, similarity=0.1), "dissimilar", True, id="similarity is asked first"
        ),
        pytest.param(lambda: unguarded(GOOD, similarity=0.1), "passed", True, id="guard off"),
        pytest.param(lambda: guard(SOURCE), "copy", False, id="copy"),
        pytest.param(lambda: guard(SOURCE, passed=False), "copy", False, id="a failed copy is left out, too"),
        pytest.param(lambda: guard(SOURCE, skip_copies=False), "passed", True, id="copies allowed"),
        pytest.param(lambda: guard("", passed=False), "screener", True, id="the screener is asked before the guards"),
    ],
)
def test_a_row_counts_under_the_first_rule_that_refuses_it(case: object, name: str, used: bool) -> None:
    found: Guarded = case()  # type: ignore[operator]
    assert found.counts == {key: int(key == name) for key in (*REFUSALS, "passed")}
    assert found.passed.tolist() == [name == "passed"]
    assert found.used.tolist() == [used]


@pytest.mark.parametrize(
    ("source", "paraphrase", "same"),
    [
        ("You  are\twrong", " you are WRONG\n", True),
        ("Straße", "STRASSE", True),
        ("you are wrong", "you are wrong!", False),
    ],
)
def test_a_copy_is_equal_but_for_case_and_white_space(source: str, paraphrase: str, same: bool) -> None:
    assert is_copy(source, paraphrase) is same


def test_counts_add_up_to_the_rows() -> None:
    paraphrases = [GOOD, "", SOURCE, "ok", GOOD, GOOD]
    found = apply_guards(
        [SOURCE] * 6,
        paraphrases,
        np.array([True, True, True, True, False, True]),
        np.array([0.9, 0.1, 1.0, 0.2, 0.9, 0.3], dtype=np.float32),
        np.array([True] * 6),
        GuardsSpec(similarity=SimilaritySpec(floor=0.5)),
    )
    assert found.counts == {
        "copy": 1,
        "screener": 1,
        "empty": 1,
        "short": 1,
        "unfinished": 0,
        "dissimilar": 1,
        "disfluent": 0,
        "passed": 1,
    }
    assert found.used.tolist() == [True, True, False, True, True, True]
    assert found.passed.tolist() == [True, False, False, False, False, False]


def test_no_rows_give_no_verdicts() -> None:
    found = apply_guards([], [], np.zeros(0, dtype=np.bool_), None, np.zeros(0, dtype=np.bool_), GuardsSpec())
    assert sum(found.counts.values()) == 0
    assert found.passed.shape == (0,)
