"""A manifest as a run on this machine: what is started, what goes on, and what is refused before anything is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sro_api.run_config import RunConfig
from sro_trainer.commands import run
from sro_trainer.errors import ConfigurationError
from sro_trainer.local_run import LocalRun, Request, missing, plan


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def manifest_of(**spec: Any) -> dict[str, Any]:
    full = {
        "leader": {"model": "file:m", "warmStart": {"steps": 5}},
        "data": {"toxic": {"uri": "file:t.txt"}, "neutral": {"uri": "file:n.txt"}},
        "output": {"uri": "file:runs/a"},
        **spec,
    }
    return {"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "metadata": {"name": "a"}, "spec": full}


def saved(*manifests: dict[str, Any]) -> Path:
    file = Path("jobs") / "job.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump_all(manifests))
    return file


def planned(*, request: dict[str, Any] | None = None, **spec: Any) -> LocalRun:
    return plan(Request(file=saved(manifest_of(**spec)), **(request or {})))


def test_sources_lie_beside_the_manifest_and_results_below_the_current_folder(tmp_path: Path) -> None:
    found = planned()
    assert found.config.inputs == str(tmp_path / "jobs")
    assert found.config.outputs == str(tmp_path)
    assert found.folder == tmp_path / "runs" / "a"
    assert found.state == "new"


def test_the_configuration_that_is_written_is_the_one_that_is_read() -> None:
    found = planned()
    found.prepare()
    assert RunConfig.load(found.config_file) == found.config


def test_a_run_that_was_not_finished_goes_on_as_the_next_attempt() -> None:
    planned().prepare()
    again = planned()
    again.prepare()
    assert (again.state, again.config.attempt) == ("unfinished", 2)
    assert planned().config.attempt == 3


def test_a_run_with_a_report_is_finished() -> None:
    first = planned()
    first.prepare()
    (first.folder / "report.json").write_text("{}")
    assert planned().state == "finished"


def test_a_folder_with_a_run_of_another_specification_is_not_touched() -> None:
    planned().prepare()
    with pytest.raises(ConfigurationError, match="holds a run of another specification: --fresh starts over"):
        planned(method={"beta": 0.2})


def test_fresh_removes_what_a_run_makes_and_nothing_else() -> None:
    first = planned()
    first.prepare()
    (first.folder / "checkpoints").mkdir()
    (first.folder / "checkpoints" / "x").touch()
    (first.folder / "report.json").touch()
    (first.folder / "mine.txt").touch()
    again = planned(request={"fresh": True}, method={"beta": 0.2})
    assert again.state == "new"
    assert [path.name for path in first.folder.iterdir()] == ["mine.txt"]


def test_fresh_removes_checkpoints_that_lie_elsewhere(tmp_path: Path) -> None:
    output = {"uri": "file:runs/a", "checkpoints": "file:kept/checkpoints"}
    planned(output=output).prepare()
    (tmp_path / "kept" / "checkpoints" / "step-1").mkdir(parents=True)
    planned(request={"fresh": True}, output=output)
    assert list((tmp_path / "kept").iterdir()) == []


def test_fresh_removes_nothing_from_a_folder_without_a_run(tmp_path: Path) -> None:
    kept = tmp_path / "runs" / "a" / "model"
    kept.mkdir(parents=True)
    planned(request={"fresh": True})
    assert kept.is_dir()


def test_the_command_line_takes_the_place_of_fields(tmp_path: Path) -> None:
    found = planned(
        request={"steps": 3, "warm_start_steps": 2, "output": Path("elsewhere")},
        optimization={"epochs": 2, "batchSize": 4},
    )
    spec = found.config.spec
    assert (spec.optimization.steps, spec.optimization.epochs, spec.optimization.batch_size) == (3, None, 4)
    assert spec.leader.warm_start is not None
    assert spec.leader.warm_start.steps == 2
    assert found.folder == tmp_path / "elsewhere"


def test_claims_are_folders_of_the_folder_that_is_named(tmp_path: Path) -> None:
    found = planned(request={"claims": Path("claims")}, output={"uri": "pvc://c/out"})
    assert found.folder == tmp_path / "claims" / "c" / "out"


@pytest.mark.parametrize(
    ("spec", "request_fields", "message"),
    [
        pytest.param({"method": {"beta": -1}}, {}, r"jobs/job\.yaml:\d+: spec\.method\.beta: ", id="invalid"),
        pytest.param({"compute": {"nodes": 2}, "output": {"uri": "pvc://c/o"}, "optimization": {"batchSize": 4}}, {"claims": Path(".")},
                     r"spec\.compute\.nodes: 2 pods need a cluster", id="two nodes"),
        pytest.param({"output": {"uri": "pvc://c/out"}}, {}, "'pvc://c/out' is on a volume claim: --claims DIR", id="claims"),
        pytest.param({"output": {"uri": "s3://b/o", "checkpoints": "file:c"}}, {}, "is not on this machine: --output DIR", id="bucket"),
        pytest.param({"leader": {"model": "file:m"}}, {"warm_start_steps": 3}, "has no spec.leader.warmStart", id="no warm start"),
        pytest.param({}, {"steps": -1}, "as changed on the command line: spec.optimization.steps", id="no steps"),
    ],
)  # fmt: skip
def test_what_cannot_run_here_is_refused(spec: dict[str, Any], request_fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        planned(request=request_fields, **spec)


def test_a_file_with_two_jobs_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="holds 2 jobs; one is run at a time"):
        plan(Request(file=saved(manifest_of(), manifest_of())))


def test_missing_packages_are_named_once_each() -> None:
    model = "package://no-such-model/x/y.gguf"
    spec = {
        "leader": {"model": model},
        "heldOutScreener": None,
        "guards": {"similarity": {"model": "package://no-such-encoder/m"}},
    }
    lacking = [word for word in missing(planned(**spec).config) if "sro_screener" not in word]
    assert lacking == ["the package no-such-encoder", "the package no-such-model"]


def test_the_command_says_every_problem_in_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(manifest_of(method={"beta": -1}, optimization={"seed": -1}))
    assert run([str(file)]) == 64
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("sro run: jobs/job.yaml:") for line in lines)


def test_the_command_says_that_a_file_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["none.yaml"]) == 64
    assert "none.yaml" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    assert "sro run examples/01-quickstart.yaml" in capsys.readouterr().out
