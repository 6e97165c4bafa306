"""The real API server refuses what `sro validate` refuses, in the same words, and takes what it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from admission_cases import cases, changed
from admission_client import sro_jobs
from sro_api.admission import admit
from sro_cluster.client import Kubectl
from sro_cluster.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
Manifest = dict[str, Any]
Create = Callable[[Manifest], str]


@pytest.fixture(scope="module")
def create(control_plane: ControlPlane, kubectl: Kubectl) -> Iterator[Create]:
    """Create an SROJob as a dry run under strict field validation; the API server's refusal, or an empty text."""
    with sro_jobs(control_plane, kubectl) as jobs:
        yield lambda manifest: jobs.create(manifest)[0]


@pytest.mark.e2e
@pytest.mark.parametrize("case", cases("invalid.yaml"), ids=lambda case: case["name"])
def test_the_api_server_refuses_by_field_and_rule(case: Manifest, create: Create) -> None:
    refusal = create(changed(case["change"]))
    assert case["field"] in refusal
    assert case["says"] in refusal


def rule_in(message: str) -> str:
    """The words of the rule: offline the value itself is shown where the API server may show its type alone."""
    without_value = re.sub(r'^(Invalid value|Unsupported value): ("[^"]*"|[^ ]+): ', "", message)
    return re.sub(r'(of type \w+): ("[^"]*"|[^ ]+)$', r"\1", without_value)


@pytest.mark.e2e
@pytest.mark.parametrize("case", cases("invalid.yaml"), ids=lambda case: case["name"])
def test_every_problem_found_offline_is_in_the_api_servers_refusal(case: Manifest, create: Create) -> None:
    manifest = changed(case["change"])
    refusal = create(manifest)
    problems = admit(manifest)
    if "strict decoding" in refusal:
        # The API server stops at unknown fields, before it looks at any rule.
        problems = tuple(problem for problem in problems if "strict decoding" in problem.message)
    assert problems
    assert [problem for problem in problems if rule_in(problem.message) not in refusal] == []


@pytest.mark.e2e
@pytest.mark.parametrize("case", cases("valid.yaml"), ids=lambda case: case["name"])
def test_the_api_server_takes_what_can_run(case: Manifest, create: Create) -> None:
    assert create(changed(case["change"])) == ""


@pytest.mark.e2e
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_api_server_takes_every_example(file: Path, create: Create) -> None:
    assert create(yaml.safe_load(file.read_text(encoding="utf-8"))) == ""


@pytest.mark.e2e
def test_a_running_jobs_spec_is_fixed_but_for_its_run_policy(create: Create, kubectl: Kubectl) -> None:
    manifest = changed({"metadata.name": "fixed"})
    kubectl.apply([manifest])
    suspended = {**manifest, "spec": {**manifest["spec"], "runPolicy": {"suspend": True}}}
    kubectl.apply([suspended])
    assert kubectl.get("srojob", "fixed")["spec"]["runPolicy"]["suspend"] is True
    other = {**manifest, "spec": {**manifest["spec"], "method": {"type": "SRO", "beta": 0.5}}}
    with pytest.raises(Exception, match=r"spec\.method\.beta: Forbidden: is fixed once the job exists"):
        kubectl.apply([other])
    kubectl("delete", "srojob", "fixed")


CHANGES: dict[str, tuple[Manifest, Manifest, str]] = {
    "a list": ({"compute": {"env": [{"name": "A", "value": "1"}]}}, {"compute": {"env": []}}, "spec.compute.env"),
    "a map": ({"compute": {"labels": {"a": "b"}}}, {"compute": {"labels": {"a": "c"}}}, "spec.compute.labels"),
    "a field within an object": ({}, {"guards": {"minCharacters": 9}}, "spec.guards.minCharacters"),
    "a field that comes": ({}, {"compute": {"image": "mine:1"}}, "spec.compute"),
    "a field that goes": ({"compute": {"image": "mine:1"}}, {"compute": {"image": None}}, "spec.compute"),
    "a free form": ({}, {"deepspeed": {"config": {"wall_clock_breakdown": True}}}, "spec.deepspeed"),
}


@pytest.mark.e2e
@pytest.mark.parametrize(("first", "then", "field"), CHANGES.values(), ids=CHANGES)
def test_every_kind_of_change_to_a_running_jobs_spec_is_refused_at_its_field(
    kubectl: Kubectl, first: Manifest, then: Manifest, field: str
) -> None:
    manifest = changed({"metadata.name": "fixed"})
    kubectl.apply([{**manifest, "spec": {**manifest["spec"], **first}}])
    change = json.dumps({"spec": then})
    try:
        with pytest.raises(Exception, match=rf"{re.escape(field)}: Forbidden: .*once the job exists"):
            kubectl("patch", "srojob", "fixed", "--type=merge", "-p", change)
        kubectl(
            "patch", "srojob", "fixed", "--type=merge", "-p", '{"spec": {"compute": {"priorityClassName": "high"}}}'
        )
    finally:
        kubectl("delete", "srojob", "fixed")


@pytest.mark.e2e
def test_an_object_cannot_be_switched_off_in_a_running_jobs_spec(kubectl: Kubectl) -> None:
    kubectl.apply([changed({"metadata.name": "fixed"})])
    null = json.dumps([{"op": "replace", "path": "/spec/heldOutScreener", "value": None}])
    try:
        with pytest.raises(Exception, match=r"spec: Forbidden: heldOutScreener: can be neither added nor removed"):
            kubectl("patch", "srojob", "fixed", "--type=json", "-p", null)
    finally:
        kubectl("delete", "srojob", "fixed")
