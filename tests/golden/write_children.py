"""Writes the golden children of every example: `python tests/golden/write_children.py`."""

from __future__ import annotations

from pathlib import Path

import yaml

from sro_api.v1alpha1 import SROJob
from sro_operator.desired import desired_children
from sro_operator.settings import OperatorSettings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
GOLDEN = Path(__file__).parent / "children"
SERVED = {"namespace": "team", "uid": "00000000-0000-0000-0000-000000000000", "generation": 1}
"""What the API server adds to an example's metadata."""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def children_text(example: Path) -> str:
    """The children of an example's first attempt, as YAML."""
    manifest = yaml.safe_load(example.read_text(encoding="utf-8"))
    job = SROJob.model_validate({**manifest, "metadata": {**manifest["metadata"], **SERVED}})
    children = desired_children(job, OperatorSettings(trainer_image="sro-trainer:golden"), 1)
    documents = (*children.supports, children.job)
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True))


def golden_file(example: Path) -> Path:
    """Where an example's children are kept."""
    return GOLDEN / f"{example.stem}.yaml"


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text of several lines is written line by line, so that a diff of the run configuration can be read."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)


def main() -> None:
    """Write them all, and drop those whose example is gone."""
    for stale in GOLDEN.glob("*.yaml"):
        stale.unlink()
    for example in sorted(EXAMPLES.glob("*.yaml")):
        golden_file(example).write_text(children_text(example), encoding="utf-8")


if __name__ == "__main__":
    main()
