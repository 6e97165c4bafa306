"""The examples of docs/scoring.md."""

import doctest
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "scoring.md"


def test_every_example_of_the_documentation_runs() -> None:
    result = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert result.attempted >= 25
    assert result.failed == 0
