"""The robust gradient has the mean of the gradient on right verdicts: over a million simulated verdicts."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from sro_trainer.verdict_weights import ErrorRates

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "method" / "expectation.py"


@cache
def expectation() -> ModuleType:
    """The benchmark, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("expectation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows() -> object:
    return expectation().simulated(1_000_000, seed=7)


@pytest.mark.parametrize(
    ("a", "b", "soft"),
    [(p, p, False) for p in (0.05, 0.1, 0.2, 0.3, 0.4)] + [(0.4, 0.1, False), (0.0, 0.3, False), (0.2, 0.2, True)],
)
def test_the_mean_gradient_is_that_of_right_verdicts(a: float, b: float, soft: bool, rows: object) -> None:
    found = expectation().compared(rows, ErrorRates(false_pass=a, false_fail=b), soft=soft, seed=8)
    assert abs(found.bias) < 3
    # Without the correction the difference is far beyond chance: the comparison can tell.
    assert abs(found.uncorrected) > 20
