"""Every example is valid, and says what its comment promises to differ in."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sro_api.admission import validate_manifest
from sro_api.study_file import load_study
from sro_api.v1alpha1 import SROJob

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
STUDIES = sorted((EXAMPLES / "studies").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_accepted(file: Path) -> None:
    assert validate_manifest(file.read_text(encoding="utf-8")) == ()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_a_job_and_starts_with_a_comment(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert SROJob.model_validate(yaml.safe_load(text)).name
    assert text.startswith("# ")


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_study_is_named_after_its_file_and_all_its_cells_are_accepted(file: Path) -> None:
    found = load_study(file)
    assert found.study.name == file.stem
    assert found.cells()
    assert file.read_text(encoding="utf-8").startswith("# ")


def test_examples_have_names_of_their_own_and_numbers_without_a_gap() -> None:
    jobs = [SROJob.model_validate(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in FILES]
    assert len({job.name for job in jobs}) == len(jobs)
    assert [file.name[:2] for file in FILES] == [f"{number:02}" for number in range(1, len(FILES) + 1)]


def test_every_file_that_an_example_reads_beside_itself_is_there() -> None:
    for file in FILES:
        job = SROJob.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        for source in (job.spec.data.toxic, job.spec.data.neutral):
            if source is not None and source.uri.startswith("file:"):
                assert (EXAMPLES / source.uri.removeprefix("file:")).is_file(), f"{file.name}: {source.uri}"


def test_the_minimal_example_has_about_fifteen_lines() -> None:
    lines = (EXAMPLES / "02-minimal.yaml").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("#")]) <= 15
