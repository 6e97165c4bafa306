"""The page: whole in itself, escaped, and with offensive text behind a click."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sro_api.status import EvaluationStatus, OutputStatus
from sro_trainer.evaluation import EvaluationResult, differences, evaluate
from sro_trainer.html_report import html_page
from sro_trainer.instruments import Instruments
from sro_trainer.report import Difference, RunReport
from sro_trainer.reporting import over_optimisation
from sro_trainer.testing import ScriptedScreener

SOURCES = ["you <b>fool</b> & co"] * 30


class HalfFluent:
    """Calls every second text fluent."""

    def scores(self, texts: Sequence[str]) -> Any:
        return np.array([0.9 if row % 2 else 0.2 for row in range(len(texts))])

    def describe(self) -> str:
        return "every second"


INSTRUMENTS = Instruments(
    screener=ScriptedScreener(lambda text: "fool" not in text),
    held_out=ScriptedScreener(lambda text: "fool" not in text),
    fluency=HalfFluent(),
)


def results() -> dict[str, EvaluationResult]:
    after = evaluate(["you <i>friend</i>"] * 30, SOURCES, INSTRUMENTS)
    return {
        "duplicate": evaluate(SOURCES, SOURCES, INSTRUMENTS),
        "before": evaluate(SOURCES, SOURCES, INSTRUMENTS),
        "after": after,
    }


def metrics(steps: int = 12, gap: float = 0.0) -> list[dict[str, Any]]:
    return [
        {"stage": "Training", "step": step, "loss": 1.0 / step, "pass_rate": 0.5, "screener_pass_rate": 0.6 + gap * step,
         "held_out_pass_rate": 0.6, "similarity": 0.8, "kl": 0.1 * step, "rows": 16,
         "outcomes": {"passed": 10, "disfluent": 4, "screener": 2}}
        for step in range(1, steps + 1)
    ]  # fmt: skip


def page(steps: int = 12, gap: float = 0.0) -> str:
    found = results()
    written = {name: _written(result.intervals()) for name, result in found.items()}
    after = EvaluationStatus(before=found["before"].figures, after=found["after"].figures)
    report = RunReport(
        name="polite", steps=steps, evaluation=after, output=OutputStatus(uri="file:out"), screener="scripted",
        intervals=written, against={"before": _written(differences(found["after"], found["before"]))},
        instruments=INSTRUMENTS.describe(), over_optimisation=over_optimisation(metrics(steps, gap)),
    )  # fmt: skip
    return html_page(report, found, metrics(steps, gap))


def _written(intervals: dict[str, Any]) -> dict[str, Difference]:
    return {name: Difference(mean=value.mean, low=value.low, high=value.high) for name, value in intervals.items()}


def test_the_page_needs_nothing_else() -> None:
    text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page())
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "http" not in text
    assert "<script" not in text


def test_texts_are_escaped_and_behind_a_click() -> None:
    text = page()
    assert "<b>fool</b>" not in text
    hidden = text[text.index("<details>") : text.index("</details>")]
    assert hidden.count("you &lt;b&gt;fool&lt;/b&gt; &amp; co") >= 24
    assert "fool" not in text.replace(hidden, "")


def test_every_rewriter_and_every_guard_that_refused_is_shown() -> None:
    text = page()
    for word in ("source unchanged", "leader, before the game", "leader, after the game", "disfluent 48", "passed 120"):
        assert word in text


@pytest.mark.parametrize(
    ("steps", "gap", "words"),
    [
        (12, 0.0, "No sign of over-optimisation"),
        (12, 0.03, "The leader learns to please the training screener"),
        (6, 0.03, "Too few steps to tell"),
    ],
)
def test_over_optimisation_is_said_in_words(steps: int, gap: float, words: str) -> None:
    assert words in page(steps, gap)


def test_the_gap_is_compared_between_the_first_and_the_last_quarter() -> None:
    found = over_optimisation(metrics(12, 0.03))
    assert found is not None
    assert found.first == pytest.approx(0.03 * 2)
    assert found.last == pytest.approx(0.03 * 11)
    assert found.growth.mean == pytest.approx(0.03 * 9)


def test_the_page_of_an_evaluation_without_a_game_has_no_curves() -> None:
    found = results()
    report = RunReport(
        name="polite", steps=0, evaluation=EvaluationStatus(), output=OutputStatus(uri="file:out"), screener="scripted"
    )
    text = html_page(report, {"after": found["after"]}, [])
    assert "The game, step by step" not in text
    assert "Sampled rewrites" in text
