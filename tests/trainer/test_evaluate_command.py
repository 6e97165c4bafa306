"""`sro evaluate` from the command line to the report, with a tiny leader and no DeepSpeed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from sro_trainer.evaluate_command import evaluate
from sro_trainer.report import RunReport
from sro_trainer.testing import tiny_job, tiny_leader, toxic_sentences


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest beside its data; the leader lies in `leader`."""
    spec = tiny_job(tmp_path).spec.to_wire(defaults=False)
    spec["output"] = {"uri": f"file://{tmp_path / 'out'}"}
    file = tmp_path / "job.yaml"
    body = {"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "metadata": {"name": "tiny"}, "spec": spec}
    file.write_text(yaml.safe_dump(body))
    return file


def test_a_model_is_measured_on_the_held_out_rows(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "measured"
    assert evaluate([str(manifest), "--model", str(tmp_path / "leader"), "--output", str(out)]) == 0
    report = RunReport.read(out)
    assert report.evaluation.after is not None
    assert report.evaluation.after.rows == 6
    assert report.baselines["duplicate"].copy_rate == 1.0
    assert report.against["duplicate"]["copy_rate"].mean == report.evaluation.after.copy_rate - 1.0
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert "6 held-out sources" in capsys.readouterr().out


def test_what_was_written_for_a_model_is_not_written_again(manifest: Path, tmp_path: Path) -> None:
    out, command = tmp_path / "measured", [str(manifest), "--model", str(tmp_path / "leader")]
    evaluate([*command, "--output", str(out)])
    kept = out / "evaluations" / "after.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    changed = "\n".join(json.dumps({**row, "paraphrase": "all is well"}) for row in rows)
    kept.write_text(changed + "\n")
    evaluate([*command, "--output", str(out)])
    assert kept.read_text() == changed + "\n"
    tiny_leader("llama", seed=1).save(tmp_path / "leader")
    evaluate([*command, "--output", str(out)])
    assert "all is well" not in kept.read_text()


def test_paraphrases_from_elsewhere_are_measured(manifest: Path, tmp_path: Path) -> None:
    sources = toxic_sentences()[:4]
    theirs = tmp_path / "theirs.jsonl"
    rows = [{"source": source, "paraphrase": source if row else "all is well"} for row, source in enumerate(sources)]
    theirs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "measured"
    assert evaluate([str(manifest), "--paraphrases", str(theirs), "--output", str(out)]) == 0
    figures = RunReport.read(out).evaluation.after
    assert figures is not None
    assert (figures.rows, figures.copy_rate, figures.novelty) == (4, 0.75, 0.25)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", ":1: is no JSON"),
        ('{"source": "x"}', ":1: must be an object with the texts source and paraphrase"),
        ("", "has no rows"),
    ],
    ids=["no JSON", "no paraphrase", "empty"],
)
def test_a_file_of_paraphrases_that_is_none_is_refused(
    text: str, says: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs.jsonl"
    theirs.write_text(text)
    assert evaluate([str(manifest), "--paraphrases", str(theirs)]) == 65
    error = capsys.readouterr().err
    assert error.startswith("sro evaluate: --paraphrases: ")
    assert says in error


def test_a_run_that_left_no_model_is_named(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate([str(manifest)]) == 65
    assert "there is no model at" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate(["--help"])
    assert "sro evaluate examples/01-quickstart.yaml --model" in capsys.readouterr().out
