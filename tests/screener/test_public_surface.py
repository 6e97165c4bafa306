"""What the distribution promises: its names, its stubs, its examples, its generated tables."""

import doctest
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import sro_screener

SOURCE = Path(__file__).resolve().parents[2] / "screener_rs"


def test_the_public_names_are_these() -> None:
    assert sro_screener.__all__ == [
        "Batch",
        "Encoder",
        "Encoding",
        "Flat",
        "Isotonic",
        "Judgements",
        "NbLogistic",
        "NbLogisticModel",
        "NbSettings",
        "PackedBatch",
        "PaddedBatch",
        "Platt",
        "Temperature",
        "ToxicWord",
        "combine",
        "encode_batches",
        "judge",
        "verdicts",
    ]


def test_the_examples_in_the_documentation_run() -> None:
    result = doctest.testmod(sro_screener)
    assert result.attempted >= 8
    assert result.failed == 0


def test_the_version_is_written_alike_everywhere() -> None:
    python, rust = (tomllib.loads((SOURCE / name).read_text()) for name in ("pyproject.toml", "Cargo.toml"))
    written = {
        python["project"]["version"],
        rust["package"]["version"],
        sro_screener.__version__,
        version("sro-screener"),
    }
    assert written == {"0.1.0"}


def test_the_stubs_match_the_built_module() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "sro_screener._native"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=SOURCE.parent)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the tables are those of Python 3.11 (Unicode 14)")
def test_the_committed_unicode_tables_are_those_of_the_libraries() -> None:
    command = [sys.executable, str(SOURCE / "tools" / "make_unicode_tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
