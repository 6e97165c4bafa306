"""The children of each example are the committed ones: a change of what runs in a cluster shows in review."""

from __future__ import annotations

import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

from write_children import EXAMPLES, GOLDEN, children_text, golden_file

FILES = sorted(EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("example", FILES, ids=lambda example: example.stem)
def test_the_children_of_an_example_are_the_golden_ones(example: Path) -> None:
    committed = golden_file(example).read_text(encoding="utf-8")
    assert children_text(example) == committed, "run `python tests/golden/write_children.py` and look at the difference"


def test_every_golden_file_belongs_to_an_example() -> None:
    assert FILES
    assert {path.name for path in GOLDEN.glob("*.yaml")} == {example.name for example in FILES}


@pytest.mark.parametrize("example", FILES, ids=lambda example: example.stem)
def test_trainer_pods_ask_for_nothing_that_the_restricted_standard_refuses(example: Path) -> None:
    (job,) = [child for child in yaml.safe_load_all(children_text(example)) if child["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize("version", ["1.34", "1.35", "1.36", "1.37"])
@pytest.mark.parametrize("example", FILES, ids=lambda example: example.stem)
def test_every_field_of_the_children_is_one_that_kubernetes_knows(example: Path, version: str) -> None:
    for child in yaml.safe_load_all(children_text(example)):
        kubernetes_validate.validate(child, version, strict=True)
