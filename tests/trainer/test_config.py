"""What is wrong with where a run writes is said before anything slow is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from sro_api.run_config import RunConfig
from sro_trainer.config import prepare_folders
from sro_trainer.errors import ConfigurationError


def config(outputs: Path) -> RunConfig:
    spec = {
        "leader": {"model": "file:m"},
        "data": {"toxic": {"uri": "file:t.txt"}, "neutral": {"uri": "file:n.txt"}},
        "output": {"uri": "file:run", "checkpoints": "file:kept/checkpoints"},
    }
    return RunConfig.model_validate({"name": "x", "spec": spec, "inputs": "/in", "outputs": str(outputs)})


def test_both_folders_are_made(tmp_path: Path) -> None:
    prepare_folders(config(tmp_path))
    assert (tmp_path / "run").is_dir()
    assert (tmp_path / "kept" / "checkpoints").is_dir()


def test_a_file_in_the_place_of_the_output_is_named_by_its_field(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"^spec\.output\.uri: .*/run cannot be made: File exists$"):
        prepare_folders(config(tmp_path))


def test_a_file_above_the_checkpoints_is_named_by_its_field(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"^spec\.output\.checkpoints: .* cannot be made: Not a directory$"):
        prepare_folders(config(tmp_path))
