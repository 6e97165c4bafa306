"""The four distributions are released together, and none can be mistaken for a standard module."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("crds", "operator", "trainer", "screener_rs")


def test_the_four_versions_are_equal() -> None:
    projects = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8")) for folder in FOLDERS]
    cargo = tomllib.loads((ROOT / "screener_rs" / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]
    versions = {project["project"].get("version", cargo) for project in projects} | {cargo}
    assert versions == {"0.1.0"}


def test_no_folder_shadows_the_standard_library_or_breaks_collection() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert list((ROOT / "tests").rglob("__init__.py")) == []
