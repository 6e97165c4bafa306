"""The report on a study: figures computed by hand, failed cells listed, and what is missing said."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sro_api.cli import main
from sro_api.run_config import RunConfig
from sro_api.status import EvaluationFigures, EvaluationStatus, OutputStatus
from sro_api.study_file import StudyFile, load_study
from sro_api.study_results import JobRecord
from sro_api.v1alpha1 import SROJob
from sro_trainer.report import RunReport
from sro_trainer.study.collected import collect
from sro_trainer.study.outcomes import Outcome
from sro_trainer.study.page import study_page
from sro_trainer.study.report import StudyReport, build_report
from sro_trainer.study.rows import difference, estimate, ratio, read_rows, recovered
from sro_trainer.study.table import print_tables

BASE = {"leader": {"model": "file:m"}, "data": {"toxic": {"uri": "file:t.txt"}, "neutral": {"uri": "file:n.txt"}}}
SOURCES = ("a", "b", "c", "d")


def values(*numbers: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(numbers, dtype=np.float64)


def study_in(folder: Path, **spec: Any) -> StudyFile:
    full = {"base": {"spec": BASE}, "output": {"uri": f"file://{folder}/runs"}, "baselines": [], **spec}
    file = folder / "study.yaml"
    file.write_text(
        yaml.safe_dump({"apiVersion": "sro.dev/v1alpha1", "kind": "Study", "metadata": {"name": "demo"}, "spec": full})
    )
    return load_study(file)


def finish(folder: Path, cell: str, joint: list[float], *, baseline: list[float] | None = None) -> None:
    """Leave what a finished cell leaves."""
    output = folder / "runs" / "cells" / cell
    (output / "evaluations").mkdir(parents=True)
    evaluations = {"after": joint, **({"delete": baseline} if baseline else {})}
    for name, rows in evaluations.items():
        lines = [
            {"source": source, "paraphrase": "p", "figures": {"joint": value}}
            for source, value in zip(SOURCES, rows, strict=True)
        ]
        (output / "evaluations" / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    after, *others = (figures_of(rows) for rows in evaluations.values())
    RunReport(
        name=cell, steps=1, evaluation=EvaluationStatus(after=after), baselines={"delete": others[0]} if others else {},
        output=OutputStatus(uri="file:o"), screener="s",
    ).write(output)  # fmt: skip
    Outcome(state="Finished", seconds=10.0).write(output)


def figures_of(joint: list[float]) -> EvaluationFigures:
    return EvaluationFigures(
        rows=len(joint), pass_rate=1.0, joint=sum(joint) / len(joint), copy_rate=0.0, empty_rate=0.0
    )


def reported(file: StudyFile, folder: Path) -> StudyReport:
    return build_report(file, collect(file.cells(), folder / "runs"))


TWO = [{"name": "sro"}, {"name": "dpo", "patch": {"method": {"beta": 0.2}}}]
AGAINST = {"name": "sro - dpo", "of": {"cells": {"cell": "sro"}}, "against": {"cells": {"cell": "dpo"}}}


def test_an_interval_of_equal_rows_has_no_width() -> None:
    found = estimate(values(0.5, 0.5, 0.5), (0.4, 0.6))
    assert (found.mean, found.low, found.high, found.seeds) == (0.5, 0.5, 0.5, (0.4, 0.6))


def test_an_interval_is_that_of_the_resampled_means() -> None:
    # Of two rows, 0 and 1, a quarter of the resamples has the mean 0 and a quarter the mean 1.
    found = estimate(values(0.0, 1.0))
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_a_difference_is_paired() -> None:
    # The rows differ widely, their differences not at all.
    found = difference(values(0.1, 0.9, 0.5), values(0.0, 0.8, 0.4))
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_a_ratio_is_one_of_means() -> None:
    found = ratio(values(0.2, 0.4), values(0.4, 0.8))
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert ratio(values(0.2), values(0.0)) is None


def test_the_share_won_back_is_that_of_the_harm() -> None:
    # Clean 0.8, harmed 0.4, robust 0.7: three quarters of the harm of 0.4.
    found = recovered(values(0.7, 0.7), values(0.4, 0.4), values(0.8, 0.8))
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.75, 0.75, 0.75))


def test_rows_that_one_side_lacks_are_left_out_on_both(tmp_path: Path) -> None:
    assert difference(values(0.4, 0.9, 0.6), values(0.2, np.nan, 0.4)).mean == pytest.approx(0.2)
    assert estimate(values(0.2, np.nan, 0.4)).mean == pytest.approx(0.3)
    file = tmp_path / "reference.jsonl"
    file.write_text(
        '{"source": "a", "paraphrase": "b", "figures": {"joint": 0.5}}\n{"source": "c", "paraphrase": null}\n'
    )
    found = read_rows(file)
    assert found is not None
    assert np.isnan(found.values["joint"]).tolist() == [False, True]


def test_where_nothing_was_lost_nothing_is_won_back() -> None:
    assert recovered(values(0.9), values(0.8), values(0.8)) is None


def test_a_harm_that_may_be_none_gives_a_share_without_an_interval() -> None:
    found = recovered(values(0.5, 0.5), values(0.0, 0.8), values(0.8, 0.1))
    assert found is not None
    assert found.mean == pytest.approx((0.5 - 0.4) / (0.45 - 0.4))
    assert found.low is None


def test_figures_are_means_over_seeds_and_rows(tmp_path: Path) -> None:
    file = study_in(tmp_path, include=TWO, seeds=[0, 1], comparisons=[AGAINST])
    finish(tmp_path, "demo-sro-s0", [1.0, 0.8, 0.6, 0.6])
    finish(tmp_path, "demo-sro-s1", [0.8, 0.8, 0.6, 0.4])
    finish(tmp_path, "demo-dpo-s0", [0.5, 0.4, 0.2, 0.1])
    finish(tmp_path, "demo-dpo-s1", [0.5, 0.4, 0.2, 0.1])
    report = reported(file, tmp_path)
    sro = report.settings[0]
    assert (sro.name, sro.finished, sro.cells) == ("demo-sro", 2, 2)
    assert sro.figures["joint"].mean == pytest.approx(0.7)
    assert sro.figures["joint"].seeds == pytest.approx((0.75, 0.65))
    (entry,) = report.comparisons
    # Row by row: 0.9-0.5, 0.8-0.4, 0.6-0.2, 0.5-0.1.
    assert entry.difference is not None
    assert (entry.difference.mean, entry.difference.low, entry.difference.high) == pytest.approx((0.4, 0.4, 0.4))
    assert entry.ratio is not None
    assert entry.ratio.mean == pytest.approx(0.7 / 0.3)
    assert (entry.seeds, entry.missing) == ((2, 2), "")
    assert report.missing == ()


def test_a_cell_may_be_compared_with_a_baseline_of_its_own_report(tmp_path: Path) -> None:
    against = {"name": "sro - delete", "of": {"cells": {"cell": "sro"}}, "against": {"baseline": "delete"}}
    file = study_in(tmp_path, include=TWO[:1], comparisons=[against], baselines=["delete", "reference"])
    finish(tmp_path, "demo-sro-s0", [1.0, 0.8, 0.6, 0.6], baseline=[0.5, 0.3, 0.1, 0.1])
    report = reported(file, tmp_path)
    assert report.baselines["delete"]["joint"].mean == pytest.approx(0.25)
    assert report.comparisons[0].difference is not None
    assert report.comparisons[0].difference.mean == pytest.approx(0.5)
    assert report.missing == ("baselines that no cell has measured: reference",)


def test_settings_are_compared_on_the_seeds_that_both_have(tmp_path: Path) -> None:
    file = study_in(tmp_path, include=TWO, seeds=[0, 1], comparisons=[AGAINST])
    finish(tmp_path, "demo-sro-s0", [0.6, 0.6, 0.6, 0.6])
    finish(tmp_path, "demo-sro-s1", [1.0, 1.0, 1.0, 1.0])
    finish(tmp_path, "demo-dpo-s0", [0.5, 0.5, 0.5, 0.5])
    (entry,) = reported(file, tmp_path).comparisons
    assert entry.difference is not None
    assert entry.difference.mean == pytest.approx(0.1)
    assert (entry.seeds, entry.missing) == ((1, 1), "1 of 2 cells of cell dpo are not finished")


def test_failed_and_open_cells_are_listed_and_comparisons_say_what_they_lack(tmp_path: Path) -> None:
    file = study_in(tmp_path, include=TWO, seeds=[0, 1], comparisons=[AGAINST])
    finish(tmp_path, "demo-sro-s0", [1.0, 0.8, 0.6, 0.6])
    Outcome(state="Failed", exit_code=66, reason="LossDiverged", message="the loss is nan", seconds=3.0).write(
        tmp_path / "runs" / "cells" / "demo-dpo-s0"
    )
    report = reported(file, tmp_path)
    (failed,) = [cell for cell in report.cells if cell.state == "Failed"]
    assert (failed.name, failed.reason, failed.message) == ("demo-dpo-s0", "LossDiverged", "the loss is nan")
    assert report.missing == (
        "1 of 4 cells failed: demo-dpo-s0",
        "2 of 4 cells not started: demo-sro-s1, demo-dpo-s1",
    )
    (entry,) = report.comparisons
    assert entry.difference is None
    assert entry.missing == "1 of 2 cells of cell sro are not finished; none of 2 cells of cell dpo is finished"


def test_cells_that_ran_on_a_cluster_have_means_without_intervals(tmp_path: Path) -> None:
    file = study_in(tmp_path, include=TWO[:1])
    record = JobRecord(phase="Complete", evaluation=EvaluationStatus(after=figures_of([0.4, 0.6])))
    record.write(tmp_path / "runs" / "cells" / "demo-sro-s0")
    report = reported(file, tmp_path)
    joint = report.settings[0].figures["joint"]
    assert (joint.mean, joint.low, joint.seeds) == (0.5, None, (0.5,))
    assert report.missing == ("no per-row figures, so no intervals and no comparisons, of: demo-sro-s0",)


def test_results_of_another_specification_are_not_taken_for_the_cells(tmp_path: Path) -> None:
    file = study_in(tmp_path, include=TWO[:1])
    finish(tmp_path, "demo-sro-s0", [0.7] * 4)
    folder = tmp_path / "runs" / "cells" / "demo-sro-s0"
    job = SROJob.model_validate(file.cells()[0].manifest)
    of_the_cell = RunConfig(name=job.name, spec=job.spec, inputs="i", outputs="o")
    (folder / "run.json").write_text(of_the_cell.dump())
    assert reported(file, tmp_path).cells[0].state == "Finished"
    longer = job.spec.model_copy(update={"optimization": job.spec.optimization.model_copy(update={"steps": 7})})
    (folder / "run.json").write_text(of_the_cell.model_copy(update={"spec": longer}).dump())
    (cell,) = reported(file, tmp_path).cells
    assert (cell.state, cell.reason, cell.figures) == ("Failed", "OtherSpecification", {})


def test_a_curve_has_the_cells_at_each_number_and_shares_those_that_are_equal(tmp_path: Path) -> None:
    rates = [{"name": "r0", "number": 0, "patch": {"screener": None}}, {"name": "r20", "number": 0.2}]
    kinds = [
        {"name": name, "patch": {"screener": {"threshold": threshold}}} for name, threshold in (("a", 0.4), ("b", 0.6))
    ]
    axes = [{"name": "kind", "values": kinds}, {"name": "rate", "values": rates}]
    file = study_in(tmp_path, axes=axes, curves=[{"x": "rate", "lines": "kind", "panels": "kind"}])
    assert [cell.name for cell in file.cells()] == ["demo-a-r0-s0", "demo-a-r20-s0", "demo-b-r20-s0"]
    finish(tmp_path, "demo-a-r0-s0", [0.8] * 4)
    finish(tmp_path, "demo-b-r20-s0", [0.2] * 4)
    curves = {(curve.panel, curve.line): curve for curve in reported(file, tmp_path).curves}
    assert [(point.x, point.figure.mean) for point in curves["b", "b"].points] == [
        (0.0, 0.8),
        (0.2, pytest.approx(0.2)),
    ]
    assert [(point.x, point.figure.mean) for point in curves["a", "a"].points] == [(0.0, 0.8)]


def test_texts_without_figures_are_no_rows(tmp_path: Path) -> None:
    file = tmp_path / "after.jsonl"
    file.write_text('{"source": "a", "paraphrase": "b"}\n')
    assert read_rows(file) is None
    assert read_rows(tmp_path / "absent.jsonl") is None


def test_the_table_and_the_page_show_figures_failures_and_no_text_of_a_row(tmp_path: Path) -> None:
    file = study_in(tmp_path, include=TWO, comparisons=[AGAINST])
    finish(tmp_path, "demo-sro-s0", [0.7] * 4)
    Outcome(state="Failed", reason="BadData", message="<no rows>").write(tmp_path / "runs" / "cells" / "demo-dpo-s0")
    report = reported(file, tmp_path)
    stream = io.StringIO()
    print_tables(report, stream)
    assert "0.700" in stream.getvalue()
    assert "1 of 2 cells failed: demo-dpo-s0" in stream.getvalue()
    page = study_page(report)
    assert "<svg" in page
    assert "BadData: &lt;no rows&gt;" in page
    assert "src=" not in page
    assert page == study_page(report)


def test_without_the_studys_claim_the_records_of_a_cluster_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study_in(tmp_path, include=TWO, output={"uri": "pvc://results/demo"})
    JobRecord(phase="Complete").write(tmp_path / "runs" / "demo" / "cells" / "demo-sro-s0")
    JobRecord(phase="Refused", message="exceeded quota").write(tmp_path / "runs" / "demo" / "cells" / "demo-dpo-s0")
    monkeypatch.chdir(tmp_path)
    assert main(["study", "study.yaml", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["Finished" in line for line in lines if "demo-sro-s0" in line] == [True]
    assert ["exceeded quota" in line for line in lines if "demo-dpo-s0" in line] == [True]
