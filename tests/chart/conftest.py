"""The chart as `helm template` renders it, for the tests of this folder."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

from chart_rendering import CHART, Helm, Manifest, Values
from sro_cluster.binaries import binary_folder


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The helm that the test cluster uses, or else the one on PATH."""
    built = binary_folder() / "helm"
    found = str(built) if built.exists() else shutil.which("helm")
    if found is None:
        pytest.skip(f"no helm: neither {built}, which `make cluster-build` makes, nor one on PATH")
    return Helm(Path(found))


@pytest.fixture(scope="session")
def render(helm: Helm) -> Callable[..., list[Manifest]]:
    """All objects of the chart for given values; each set of values is rendered once."""
    known: dict[str, list[Manifest]] = {}

    def rendered(values: Values | None = None) -> list[Manifest]:
        key = yaml.safe_dump(values or {})
        if key not in known:
            known[key] = helm.template(values or {})
        return known[key]

    return rendered


@pytest.fixture(scope="session")
def default_values() -> Values:
    """values.yaml, parsed."""
    parsed: Values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return parsed
