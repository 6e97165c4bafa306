"""`sro` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sro_api.cli import main

BASE = Path(__file__).parent / "manifests" / "base.yaml"


def test_a_valid_file_is_called_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(BASE)]) == 0
    assert capsys.readouterr().out == f"{BASE}: valid\n"


def test_a_problem_is_printed_as_file_line_path_and_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(BASE.read_text(encoding="utf-8") + "  method: {beta: -1}\n", encoding="utf-8")
    line = len(file.read_text(encoding="utf-8").splitlines())
    assert main(["validate", str(file)]) == 1
    expected = "spec.method.beta: Invalid value: -1: spec.method.beta in body should be greater than 0"
    assert capsys.readouterr().out == f"{file}:{line}: {expected}\n"


def test_one_bad_file_of_two_fails_and_both_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "absent.yaml"), str(BASE)]) == 1
    printed = capsys.readouterr()
    assert "absent.yaml" in printed.err
    assert f"{BASE}: valid" in printed.out


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "sro run examples/01-quickstart.yaml" in capsys.readouterr().out


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "sro: there is no command 'trian'; `sro --help` lists them\n"
