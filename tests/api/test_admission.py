"""Manifests that no run could satisfy are refused offline, naming field and rule; the others pass."""

from __future__ import annotations

import pytest
import yaml

from admission_cases import cases, changed
from sro_api.admission import admit, validate_manifest
from sro_api.base import Manifest
from sro_api.v1alpha1 import SROJob


@pytest.mark.parametrize("case", cases("invalid.yaml"), ids=lambda case: case["name"])
def test_a_manifest_that_no_run_could_satisfy_is_refused_by_field_and_rule(case: Manifest) -> None:
    problems = admit(changed(case["change"]))
    assert any(problem.path == case["field"] and case["says"] in problem.message for problem in problems), problems


@pytest.mark.parametrize("case", cases("valid.yaml"), ids=lambda case: case["name"])
def test_a_manifest_that_can_run_is_accepted(case: Manifest) -> None:
    manifest = changed(case["change"])
    assert admit(manifest) == ()
    SROJob.model_validate(manifest)


def test_there_are_enough_cases() -> None:
    assert len(cases("invalid.yaml")) >= 40
    assert len(cases("valid.yaml")) >= 15


def test_a_problem_carries_the_line_of_its_field() -> None:
    text = yaml.safe_dump(changed({"spec.screener": {"threshold": 2}}), sort_keys=False)
    (problem,) = validate_manifest(text)
    assert text.splitlines()[(problem.line or 0) - 1].strip() == "threshold: 2"


def test_every_document_of_a_file_is_validated() -> None:
    good, bad = changed({}), changed({"spec.method": {"beta": -1}})
    (problem,) = validate_manifest(yaml.safe_dump_all([good, bad]))
    assert problem.path == "spec.method.beta"


def test_other_kinds_in_a_file_are_passed_over() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    assert validate_manifest(yaml.safe_dump_all([secret, changed({})])) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("a: [1", "is not YAML", id="not-yaml"),
        pytest.param("apiVersion: v1\nkind: Pod\n", "holds no SROJob", id="another-kind"),
        pytest.param("- 1\n", "is no Kubernetes object", id="a-list"),
        pytest.param("kind: SROJob\napiVersion: sro.dev/v2\n", "Unsupported value: 'sro.dev/v2'", id="another-version"),
    ],
)
def test_what_is_no_manifest_is_one_problem(text: str, says: str) -> None:
    (problem,) = validate_manifest(text)
    assert says in problem.message


def test_null_switches_a_guard_off() -> None:
    manifest = changed({})
    manifest["spec"]["guards"] = {"similarity": None}
    assert admit(manifest) == ()
    assert SROJob.model_validate(manifest).spec.guards.similarity is None
