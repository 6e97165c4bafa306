"""Held-out figures computed by hand, and what a reader sees of them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from sro_api.status import EvaluationFigures, EvaluationStatus, OutputStatus
from sro_trainer.baselines import delete_words
from sro_trainer.bootstrap import Interval
from sro_trainer.evaluation import EvaluationResult, differences, evaluate
from sro_trainer.instruments import Instruments
from sro_trainer.report import Difference, RunReport, figures_table
from sro_trainer.similarity import SimilarityEncoder
from sro_trainer.verdicts import Verdicts


@dataclass(frozen=True)
class WordScreener:
    """Fails every text that has one of its words."""

    words: tuple[str, ...]

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        failed = np.array([any(word in text.split() for word in self.words) for text in texts])
        return Verdicts(scores=failed.astype(np.float32), passed=~failed)

    def toxic_words(self, n: int) -> tuple[str, ...]:
        return self.words[:n]

    def describe(self) -> str:
        return "words"


class SharedWords:
    """Similarity as the share of the source's words that remain."""

    def similarity(self, a: Sequence[str], b: Sequence[str]) -> Any:
        shares = [len(set(x.split()) & set(y.split())) / len(set(x.split())) for x, y in zip(a, b, strict=True)]
        return np.array(shares, dtype=np.float32)


class NoTwoWordsAlike:
    """Calls a text fluent unless it is empty or says a word twice."""

    def scores(self, texts: Sequence[str]) -> Any:
        return np.array([float(bool(text) and len(set(text.split())) == len(text.split())) for text in texts])

    def describe(self) -> str:
        return "no two words alike"


ENCODER = cast(SimilarityEncoder, SharedWords())
TRAINING, HELD_OUT = WordScreener(("damn",)), WordScreener(("damn", "idiot"))
SOURCES = ["damn rain today again", "you idiot go home", "damn idiot", "so damn cold here"]
PARAPHRASES = ["rain today again", "you idiot go home", "", "so cold damn"]
ALL = Instruments(screener=TRAINING, held_out=HELD_OUT, encoder=ENCODER, fluency=NoTwoWordsAlike())


def measured(paraphrases: Sequence[str | None] = PARAPHRASES, **changes: Any) -> EvaluationResult:
    return evaluate(paraphrases, SOURCES, replace(ALL, **changes))


def test_figures_equal_those_computed_by_hand() -> None:
    paraphrases = ["rain rain again", "you idiot go home", "", "so cold here"]
    found = measured(paraphrases).figures
    # passed: training 1 1 1 1, held-out 1 0 1 1; similarity 1/2 1 0 3/4; fluent 0 1 0 1.
    assert found == EvaluationFigures(
        rows=4,
        pass_rate=1.0,
        held_out_pass_rate=0.75,
        similarity=(0.5 + 1 + 0 + 0.75) / 4,
        fluency=0.5,
        joint=(1 * 0.5 * 0 + 0 * 1 * 1 + 1 * 0 * 0 + 1 * 0.75 * 1) / 4,
        style_similarity=(0.5 + 0 + 0 + 0.75) / 4,
        copy_rate=0.25,
        empty_rate=0.25,
        length_ratio=(3 / 4 + 1 + 0 + 3 / 4) / 4,
        novelty=0.0,
        screener_agreement=0.75,
    )


def test_j_is_no_product_of_means() -> None:
    found = measured().figures
    assert found.held_out_pass_rate is not None
    assert found.similarity is not None
    assert found.fluency is not None
    assert found.joint != found.held_out_pass_rate * found.similarity * found.fluency


def test_novelty_counts_words_that_the_source_does_not_have() -> None:
    assert (
        measured(["Rain, today!", "fine", "damn idiot", "so very very cold"]).figures.novelty == (0 + 1 + 0 + 0.5) / 4
    )


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"held_out": None}, {"held_out_pass_rate", "screener_agreement", "style_similarity", "joint"}),
        ({"encoder": None}, {"similarity", "style_similarity", "joint"}),
        ({"fluency": None}, {"fluency", "joint"}),
    ],
    ids=["no STA", "no SIM", "no FL"],
)
def test_what_cannot_be_measured_is_absent(changes: dict[str, Any], absent: set[str]) -> None:
    found = measured(**changes).figures
    assert {name for name, value in found.model_dump().items() if value is None} == absent


def test_rows_carry_the_values_whose_means_are_the_figures() -> None:
    found = measured()
    rows = list(found.as_rows())
    assert [row["paraphrase"] for row in rows] == list(PARAPHRASES)
    figures = found.figures.to_wire()
    for name in rows[0]["figures"]:
        assert sum(row["figures"][name] for row in rows) / len(rows) == pytest.approx(figures[name])


def test_rows_without_a_paraphrase_are_not_measured() -> None:
    found = measured(["rain today again", None, None, "so cold here"])
    assert (found.figures.rows, found.figures.pass_rate, found.figures.similarity) == (2, 1.0, 0.75)
    assert np.isnan(found.rows["similarity"]).tolist() == [False, True, True, False]


def test_a_difference_is_taken_over_the_rows_that_both_have() -> None:
    ours, theirs = (
        measured(["rain", "you", "x", "so cold here"]),
        measured(["rain today again", None, None, "so cold here"]),
    )
    # Similarity 1/4 - 3/4 and 3/4 - 3/4.
    assert differences(ours, theirs)["similarity"].mean == -0.25


def test_deleting_ignores_case_and_punctuation() -> None:
    assert delete_words("Damn, this is (damn!) cold, damned", ["damn"]) == "this is cold, damned"


def test_the_interval_of_a_constant_difference_is_that_difference() -> None:
    found = differences(measured(["fine"] * 4), measured(["damn"] * 4))["pass_rate"]
    assert found == Interval(mean=1.0, low=1.0, high=1.0)


def test_an_interval_holds_the_mean_and_is_narrower_with_more_rows() -> None:
    def width(rows: int) -> float:
        found = evaluate(["damn", "fine"] * (rows // 2), ["x"] * rows, Instruments(screener=TRAINING)).intervals()[
            "pass_rate"
        ]
        assert found.low <= 0.5 <= found.high
        return found.high - found.low

    # Half of a share of 1/2: 1.96 x 0.5 / sqrt(n) on either side.
    assert width(400) == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.15)
    assert width(100) == pytest.approx(2 * 1.96 * 0.5 / 10, rel=0.15)


def report_of(**fields: Any) -> RunReport:
    figures = EvaluationFigures(
        rows=96,
        pass_rate=0.5,
        held_out_pass_rate=0.4,
        similarity=0.9,
        fluency=0.8,
        joint=0.3,
        copy_rate=0,
        empty_rate=0,
    )
    values: dict[str, Any] = {
        "name": "quickstart",
        "steps": 50,
        "evaluation": EvaluationStatus(before=figures, after=figures.model_copy(update={"joint": 0.71234})),
        "output": OutputStatus(uri="file:out", model="out/model"),
        "screener": "NBLogistic",
    }
    return RunReport(**(values | fields))


GAIN = {"joint": Difference(mean=0.1, low=-0.05, high=0.2)}


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = report_of(differences=GAIN, counts={"toxic_read": 3})
    report.write(tmp_path)
    assert RunReport.read(tmp_path) == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text())["evaluation"]["after"]["joint"] == 0.71234


def test_the_table_has_a_row_for_what_was_measured_and_no_other() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(figures_table(report_of(differences=GAIN)))
    text = console.export_text()
    assert "96 held-out sources" in text
    assert "0.712" in text
    assert "+0.100" in text
    assert "[-0.050, +0.200]" in text
    assert "before the game" in text
    assert "untrained" not in text
    assert "unchanged" not in text
