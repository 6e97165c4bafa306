"""A study file as the cells that it comes to, and what is refused in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sro_api.admission import admit
from sro_api.cli import main
from sro_api.study_cells import Cell, merge_patch, selected
from sro_api.study_file import StudyFile, StudyFileError, load_study

SMOOTHED = {"method": {"epsilon": 0.2}}
AXES: list[dict[str, Any]] = [
    {"name": "beta", "values": [{"name": name, "patch": {"method": {"beta": beta}}} for name, beta in (("low", 0.1), ("high", 0.5))]},
    {"name": "flips", "values": [{"name": "r0", "number": 0}, {"name": "r20", "number": 0.2, "patch": SMOOTHED}]},
]  # fmt: skip
BASE = {
    "leader": {"model": "file:m", "warmStart": {"steps": 5}},
    "data": {"toxic": {"uri": "file:t.txt"}, "neutral": {"uri": "file:n.txt"}},
    "optimization": {"steps": 9, "batchSize": 8},
}


def study_of(**spec: Any) -> dict[str, Any]:
    full = {"base": {"spec": BASE}, "axes": AXES, "output": {"uri": "pvc://results/demo"}, **spec}
    return {"apiVersion": "sro.dev/v1alpha1", "kind": "Study", "metadata": {"name": "demo"}, "spec": full}


def loaded(folder: Path, **spec: Any) -> StudyFile:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study_of(**spec), sort_keys=False))
    return load_study(file)


def cells_of(folder: Path, **spec: Any) -> tuple[Cell, ...]:
    return loaded(folder, **spec).cells()


def names(cells: tuple[Cell, ...]) -> list[str]:
    return [cell.name.removeprefix("demo-") for cell in cells]


def test_every_combination_of_values_is_a_cell_and_an_ordinary_job(tmp_path: Path) -> None:
    cells = cells_of(tmp_path)
    assert names(cells) == ["low-r0-s0", "low-r20-s0", "high-r0-s0", "high-r20-s0"]
    assert all(admit(cell.manifest) == () for cell in cells)
    spec = cells[3].manifest["spec"]
    assert spec["method"] == {"beta": 0.5, "epsilon": 0.2}
    assert spec["output"] == {"uri": "pvc://results/demo/cells/demo-high-r20-s0"}
    assert cells[3].manifest["metadata"] == {"name": "demo-high-r20-s0", "labels": {"sro.dev/study": "demo"}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"exclude": [{"beta": "high", "flips": "r20"}]}, ["low-r0-s0", "low-r20-s0", "high-r0-s0"], id="exclude"),
        pytest.param({"exclude": [{"flips": ["r0", "r20"], "beta": "low"}]}, ["high-r0-s0", "high-r20-s0"], id="several values"),
        pytest.param({"axes": [], "include": [{"name": "plain"}]}, ["plain-s0"], id="include alone"),
        pytest.param({"axes": AXES[:1], "include": [{"name": "x", "patch": {"method": {"beta": 0.3}}, "seeds": [7]}]},
                     ["low-s0", "high-s0", "x-s7"], id="include beside a grid"),
        pytest.param({"axes": AXES[:1], "seeds": [0, 1]}, ["low-s0", "high-s0", "low-s1", "high-s1"], id="first seeds first"),
        pytest.param({"axes": AXES[:1], "seedsWhere": [{"where": {"beta": "high"}, "seeds": [0, 4]}]},
                     ["low-s0", "high-s0", "high-s4"], id="more seeds for some"),
        pytest.param({"axes": AXES[:1], "sharedWarmStart": True}, ["warm-start", "low-s0", "high-s0"], id="warm start first"),
    ],
)  # fmt: skip
def test_the_cells_of_a_study(spec: dict[str, Any], expected: list[str], tmp_path: Path) -> None:
    assert names(cells_of(tmp_path, **spec)) == expected


def test_settings_that_come_out_equal_are_one_cell_at_all_their_places(tmp_path: Path) -> None:
    kinds = [
        {"name": name, "patch": {"screener": {"threshold": threshold}}} for name, threshold in (("a", 0.4), ("b", 0.6))
    ]
    rates = [{"name": "none", "patch": {"screener": None}}, {"name": "some"}]
    axes = [{"name": "kind", "values": kinds}, {"name": "rate", "values": rates}]
    cells = cells_of(tmp_path, axes=axes, seedsWhere=[{"where": {"kind": "b"}, "seeds": [1]}])
    assert names(cells) == ["a-none-s0", "a-some-s0", "b-some-s1", "a-none-s1"]
    assert cells[0].coordinates == ({"kind": "a", "rate": "none"}, {"kind": "b", "rate": "none"})


def test_a_patch_of_a_combination_comes_after_those_of_its_values(tmp_path: Path) -> None:
    extra = {"where": {"beta": "high", "flips": "r20"}, "patch": {"method": {"beta": 0.7, "epsilon": None}}}
    method = {cell.name: cell.manifest["spec"].get("method") for cell in cells_of(tmp_path, patches=[extra])}
    assert method["demo-high-r20-s0"] == {"beta": 0.7}
    assert method["demo-high-r0-s0"] == {"beta": 0.5}


def test_the_seed_is_that_of_the_optimisation(tmp_path: Path) -> None:
    assert [cell.manifest["spec"]["optimization"] for cell in cells_of(tmp_path, axes=AXES[:1], seeds=[3])] == [
        {"steps": 9, "batchSize": 8, "seed": 3},
    ] * 2


def test_a_shared_warm_start_is_a_job_without_a_game_which_the_others_load(tmp_path: Path) -> None:
    first, *others = cells_of(tmp_path, sharedWarmStart=True)
    assert first.manifest["spec"]["optimization"] == {"steps": 0, "batchSize": 8, "warmupSteps": 0}
    assert first.manifest["spec"]["leader"] == BASE["leader"]
    assert {cell.manifest["spec"]["leader"]["warmStartFrom"] for cell in others} == {
        "pvc://results/demo/cells/demo-warm-start"
    }
    assert not any("warmStart" in cell.manifest["spec"]["leader"] for cell in others)


def test_a_base_may_be_a_file_beside_the_study(tmp_path: Path) -> None:
    job = {
        "apiVersion": "sro.dev/v1alpha1",
        "kind": "SROJob",
        "metadata": {"name": "j"},
        "spec": {**BASE, "output": {"uri": "file:o"}},
    }
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "job.yaml").write_text(yaml.safe_dump(job))
    found = loaded(tmp_path, base={"file": "jobs/job.yaml"})
    assert found.base["optimization"] == BASE["optimization"]
    assert found.inputs == tmp_path / "jobs"


def test_a_selection_has_the_cells_at_any_of_its_places(tmp_path: Path) -> None:
    cells = cells_of(tmp_path)
    assert names(selected(cells, [{"beta": ("low",), "flips": ("r20",)}, {"beta": ("high",)}])) == [
        "low-r20-s0", "high-r0-s0", "high-r20-s0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({}, {"a": None}, {}),
    ],
    ids=["add", "take away below", "lists are replaced", "an object for a value", "nothing to take away"],
)
def test_a_merge_patch_is_that_of_rfc_7386(
    target: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert merge_patch(target, patch) == expected


REFUSED: list[Any] = [
    pytest.param({"colour": 1}, "spec.colour: is no field of a study", id="unknown field"),
    pytest.param({"seeds": [-1]}, "spec.seeds[0]: Invalid value: -1: Input should be greater than or equal to 0", id="seed"),
    pytest.param({"base": {}}, "spec.base: Invalid value: must have exactly one of file and spec", id="no base"),
    pytest.param({"base": {"file": "absent.yaml"}}, "spec.base.file: Invalid value: 'absent.yaml': ", id="absent base"),
    pytest.param({"axes": []}, "spec.axes: Required value: a study has axes or include", id="nothing varied"),
    pytest.param({"axes": [AXES[0], AXES[0]]}, "spec.axes[1].name: Duplicate value: 'beta'", id="an axis twice"),
    pytest.param({"exclude": [{"gamma": "x"}]},
                 "spec.exclude[0].gamma: Invalid value: no such axis; there are beta, cell, flips", id="axis"),
    pytest.param({"exclude": [{"beta": "mid"}]},
                 "spec.exclude[0].beta: Invalid value: 'mid': no such value; there are high, low", id="value"),
    pytest.param({"comparisons": [{"name": "c", "of": {"cells": {"beta": "lo"}}, "against": {"baseline": "delete"}}]},
                 "spec.comparisons[0].of.cells.beta: Invalid value: 'lo': no such value", id="comparison"),
    pytest.param({"comparisons": [{"name": "c", "of": {}, "against": {"baseline": "delete"}}]},
                 "spec.comparisons[0].of: Invalid value: must have exactly one of cells and baseline", id="empty side"),
    pytest.param({"curves": [{"x": "beta", "lines": "flips", "panels": "flips"}]},
                 "spec.curves[0].x: Invalid value: 'beta': every value of it needs a number", id="curve without numbers"),
    pytest.param({"include": [{"name": "x", "patch": {"optimization": {"seed": 1}}}]},
                 "spec.include[0].patch.optimization.seed: Forbidden: is decided by spec.seeds of the study", id="seed in a patch"),
    pytest.param({"include": [{"name": "x", "patch": {"output": {"uri": "file:o"}}}]},
                 "spec.include[0].patch.output: Forbidden: is decided by spec.output of the study", id="output in a patch"),
    pytest.param({"sharedWarmStart": True, "include": [{"name": "x", "patch": {"leader": {"adapter": {"type": "Full"}}}}]},
                 "spec.include[0].patch.leader.adapter: Forbidden: cells that share a warm start share the", id="another adapter"),
    pytest.param({"sharedWarmStart": True, "base": {"spec": {**BASE, "leader": {"model": "file:m"}}}},
                 "spec.base.spec.leader.warmStart: Required value: spec.sharedWarmStart needs it in the base", id="no warm start"),
    pytest.param({"include": [{"name": "x", "patch": {"method": {"beta": -1}}}]},
                 "cell demo-x-s0: spec.method.beta: Invalid value: -1", id="a cell that the API server would refuse"),
    pytest.param({"axes": [], "include": [{"name": "a-name-of-thirty-two-letters-all", "seeds": [4_000_000_000]}]},
                 "must be a DNS label of at most 46 characters", id="name too long"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "message"), REFUSED)
def test_what_cannot_be_a_study_is_refused_by_field_value_and_rule(
    spec: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(StudyFileError) as refused:
        loaded(tmp_path, **spec)
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path}/study.yaml:")


def test_a_problem_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study_of(), sort_keys=False) + "  exclude:\n  - beta: mid\n")
    line = len(file.read_text().splitlines())
    assert main(["validate", str(file)]) == 1
    assert capsys.readouterr().out.startswith(f"{file}:{line}: spec.exclude[0].beta: Invalid value: 'mid'")


def test_print_shows_manifests_that_validate_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded(tmp_path, sharedWarmStart=True)
    assert main(["study", str(tmp_path / "study.yaml"), "--print", "--only", "*-high-r0-*"]) == 0
    printed = capsys.readouterr().out
    assert [found["metadata"]["name"] for found in yaml.safe_load_all(printed)] == [
        "demo-warm-start",
        "demo-high-r0-s0",
    ]
    (tmp_path / "cells.yaml").write_text(printed)
    assert main(["validate", str(tmp_path / "cells.yaml")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nothing"], "no cell is left"),
        (["--select", "coarse"], "'coarse' is none of spec.selections; there are none"),
        (["--seeds", "9"], "no cell is left"),
    ],
)
def test_options_that_leave_nothing_to_do_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded(tmp_path)
    assert main(["study", str(tmp_path / "study.yaml"), "--check", *options]) == 64
    assert message in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["study", "--help"])
    assert "sro study examples/studies/objectives.yaml --check" in capsys.readouterr().out
