"""Held-out figures computed by hand, and what a reader sees of them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from sro_api.status import EvaluationFigures, EvaluationStatus, OutputStatus
from sro_trainer.bootstrap import Interval
from sro_trainer.evaluation import baselines, delete_words, evaluate, intervals
from sro_trainer.report import RunReport, differences, figures_table
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


ENCODER = cast(SimilarityEncoder, SharedWords())
TRAINING, HELD_OUT = WordScreener(("damn",)), WordScreener(("damn", "idiot"))
SOURCES = ["damn rain today again", "you idiot go home", "damn idiot", "so damn cold here"]
PARAPHRASES = ["rain today again", "you idiot go home", "", "so cold damn"]


def test_figures_equal_those_computed_by_hand() -> None:
    found = evaluate(lambda _: PARAPHRASES, SOURCES, TRAINING, HELD_OUT, ENCODER).figures
    # passed: training 1 1 1 0, held-out 1 0 1 0; similarity 3/4 1 0 3/4.
    assert found == EvaluationFigures(
        rows=4,
        pass_rate=0.75,
        held_out_pass_rate=0.5,
        similarity=0.625,
        joint=(0.75 * 1 + 1 * 0 + 0 * 1 + 0.75 * 0) / 4,
        copy_rate=0.25,
        empty_rate=0.25,
    )


def test_j_is_no_product_of_means() -> None:
    found = evaluate(lambda _: PARAPHRASES, SOURCES, TRAINING, HELD_OUT, ENCODER).figures
    assert found.held_out_pass_rate is not None
    assert found.similarity is not None
    assert found.joint != found.held_out_pass_rate * found.similarity


@pytest.mark.parametrize(
    ("held_out", "encoder", "absent"),
    [
        (None, ENCODER, {"held_out_pass_rate", "joint"}),
        (HELD_OUT, None, {"similarity", "joint"}),
        (None, None, {"held_out_pass_rate", "similarity", "joint"}),
    ],
)
def test_what_cannot_be_measured_is_absent(
    held_out: WordScreener | None, encoder: SimilarityEncoder | None, absent: set[str]
) -> None:
    found = evaluate(lambda _: PARAPHRASES, SOURCES, TRAINING, held_out, encoder).figures
    assert {name for name, value in found.model_dump().items() if value is None} == absent


def test_the_baselines_are_the_source_and_the_source_without_toxic_words() -> None:
    measured = baselines(SOURCES, ["damn"], TRAINING, HELD_OUT, ENCODER)
    found = {name: result.figures for name, result in measured.items()}
    assert (found["duplicate"].pass_rate, found["duplicate"].similarity, found["duplicate"].copy_rate) == (
        0.25,
        1.0,
        1.0,
    )
    assert (found["delete"].pass_rate, found["delete"].held_out_pass_rate) == (1.0, 0.5)


def test_rows_carry_the_values_whose_means_are_the_figures() -> None:
    found = evaluate(lambda _: PARAPHRASES, SOURCES, TRAINING, HELD_OUT, ENCODER)
    rows = list(found.as_rows())
    assert [row["paraphrase"] for row in rows] == list(PARAPHRASES)
    figures = found.figures.to_wire()
    for name in rows[0]["figures"]:
        assert sum(row["figures"][name] for row in rows) / len(rows) == pytest.approx(figures[name])


def test_without_a_lexicon_there_is_no_deleting_baseline() -> None:
    assert set(baselines(SOURCES, [], TRAINING, HELD_OUT, ENCODER)) == {"duplicate"}


def test_deleting_ignores_case_and_punctuation() -> None:
    assert delete_words("Damn, this is (damn!) cold, damned", ["damn"]) == "this is cold, damned"


def test_the_interval_of_a_constant_difference_is_that_difference() -> None:
    before = evaluate(lambda _: ["damn"] * 4, SOURCES, TRAINING, None, None)
    after = evaluate(lambda _: ["fine"] * 4, SOURCES, TRAINING, None, None)
    assert intervals(before, after)["pass_rate"] == Interval(mean=1.0, low=1.0, high=1.0)


def test_an_interval_holds_the_mean_and_is_narrower_with_more_rows() -> None:
    def width(rows: int) -> float:
        sources = ["x"] * rows
        before = evaluate(lambda _: ["damn"] * rows, sources, TRAINING, None, None)
        after = evaluate(lambda _: ["damn", "fine"] * (rows // 2), sources, TRAINING, None, None)
        found = intervals(before, after)["pass_rate"]
        assert found.low <= 0.5 <= found.high
        return found.high - found.low

    # Half of a share of 1/2: 1.96 x 0.5 / sqrt(n) on either side.
    assert width(400) == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.15)
    assert width(100) == pytest.approx(2 * 1.96 * 0.5 / 10, rel=0.15)


def report_of(**fields: Any) -> RunReport:
    figures = EvaluationFigures(
        rows=96, pass_rate=0.5, held_out_pass_rate=0.4, similarity=0.9, joint=0.3, copy_rate=0, empty_rate=0
    )
    values: dict[str, Any] = {
        "name": "quickstart",
        "steps": 50,
        "evaluation": EvaluationStatus(before=figures, after=figures.model_copy(update={"joint": 0.71234})),
        "output": OutputStatus(uri="file:out", model="out/model"),
        "screener": "NBLogistic",
    }
    return RunReport(**(values | fields))


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = report_of(
        differences=differences({"joint": Interval(mean=0.1, low=0.05, high=0.2)}), counts={"toxic_read": 3}
    )
    report.write(tmp_path)
    assert RunReport.read(tmp_path) == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text())["evaluation"]["after"]["joint"] == 0.71234


def test_the_table_has_a_row_for_what_was_measured_and_no_other() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(figures_table(report_of(differences=differences({"joint": Interval(mean=0.1, low=-0.05, high=0.2)}))))
    text = console.export_text()
    assert "96 held-out sources" in text
    assert "0.712" in text
    assert "+0.100" in text
    assert "[-0.050, +0.200]" in text
    assert "before the game" in text
    assert "untrained" not in text
    assert "unchanged" not in text
