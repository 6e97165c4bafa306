"""The table of the lifecycle: complete, reachable, and the one that is documented."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from sro_api import labels
from sro_api.labels import CONDITION_TYPES, FINAL_PHASES
from sro_api.status import AttemptStatus, PodExit, SROJobStatus
from sro_operator.lifecycle import REASONS, RULES, Rule, situation_of
from sro_operator.lifecycle_page import PHASES, page, transitions
from sro_operator.observed import AttemptJob, Observed, Refusal, TrainerPod
from sro_operator.testing import EPOCH, make_job
from sro_operator.view import View

NOW = EPOCH + timedelta(seconds=100)
GANG = AttemptJob(name="demo-a1", uid="u", resource_version="1", attempt=1, created=EPOCH, started=EPOCH)
FAILING = replace(GANG, is_failing=True, ended=EPOCH)
PODS = tuple(TrainerPod(name=f"p{i}", uid=f"p{i}", attempt=1, index=i, phase="Running") for i in range(2))
OPEN = AttemptStatus(number=1, start_time=EPOCH)


def ended(reason: str, *, counted: bool = False) -> AttemptStatus:
    return OPEN.model_copy(update={"end_time": EPOCH, "reason": reason, "counted": counted})


def failed(code: int, reason: str = "Error") -> TrainerPod:
    return replace(PODS[0], phase="Failed", exit=PodExit(index=0, exit_code=code, reason=reason))


ATTEMPTS = {
    "no attempt": (),
    "an open attempt": (OPEN,),
    **{
        f"ended by {reason}": (ended(reason),)
        for reason in (
            "TrainingComplete", "BadConfiguration", "BadData", "LossDiverged", "DeadlineExceeded", "StartupTimeout",
            "SuspendedByUser", "AttemptDisrupted", "AttemptFailed", "NodesShort",
        )
    },
    "failed and to be followed": (ended("AttemptFailed", counted=True),),
    "out of memory and to be followed": (ended("OutOfMemory", counted=True),),
}  # fmt: skip
OBSERVED = {
    "nothing": Observed(),
    "refused for good": Observed(refusal=Refusal(message="no", is_permanent=True)),
    "refused for now": Observed(refusal=Refusal(message="no", is_permanent=False)),
    "a Job without pods": Observed(jobs=(GANG,)),
    "a Job held": Observed(jobs=(replace(GANG, is_suspended=True),)),
    "pods run": Observed(jobs=(GANG,), pods=PODS),
    "an image is missing": Observed(jobs=(GANG,), pods=(replace(PODS[0], phase="Pending", waiting="ErrImagePull"),)),
    "a Secret is missing": Observed(
        jobs=(GANG,), pods=(replace(PODS[0], phase="Pending", waiting="CreateContainerConfigError: x"),)
    ),
    "no node": Observed(jobs=(GANG,), pods=(replace(PODS[0], phase="Pending", waiting="Unschedulable: x"),)),
    "a node for one": Observed(
        jobs=(GANG,), pods=(PODS[0], replace(PODS[1], phase="Pending", waiting="Unschedulable: x"))
    ),
    "pods refused": Observed(jobs=(GANG,), pods_refused="quota"),
    "a pod failed": Observed(jobs=(FAILING,), pods=(failed(1),)),
    "a pod was out of memory": Observed(jobs=(FAILING,), pods=(failed(137, "OOMKilled"),)),
    "a pod was evicted": Observed(jobs=(FAILING,), pods=(replace(failed(76), is_disrupted=True),)),
    "the Job goes": Observed(jobs=(replace(GANG, is_deleting=True),), pods=PODS),
}
POLICIES: dict[str, dict[str, object]] = {
    "plain": {},
    "suspend": {"suspend": True},
    "deadline": {"activeDeadlineSeconds": 1},
    "startup limit": {"startupTimeoutSeconds": 1},
}
SIZES: tuple[dict[str, int], ...] = ({"nodes": 2}, {"nodes": 2, "minNodes": 1, "shrinkAfterSeconds": 1})


def views() -> list[View]:
    return [
        View(job=make_job(None, runPolicy=policy, compute=size), attempts=attempts, observed=observed, now=NOW)
        for attempts, observed, policy, size in itertools.product(
            ATTEMPTS.values(), OBSERVED.values(), POLICIES.values(), SIZES
        )
    ]


def first(view: View) -> Rule:
    return next(rule for rule in RULES if rule.holds(view))


def test_whatever_is_observed_some_rule_holds_and_says_something() -> None:
    for view in views():
        situation = situation_of(view)
        assert situation.phase in CONDITION_TYPES
        assert situation.reason in REASONS


def test_every_rule_decides_something() -> None:
    deciding = {id(first(view)) for view in views()}
    assert [(rule.phase, rule.reason, rule.when) for rule in RULES if id(rule) not in deciding] == []


def test_every_reason_that_there_is_is_explained() -> None:
    named = {value for name, value in vars(labels).items() if name.startswith("REASON_")}
    assert named == set(REASONS)
    assert {rule.reason for rule in RULES} <= set(REASONS)


def test_no_rule_leads_out_of_a_final_phase() -> None:
    assert not {before for before, _ in transitions()} & FINAL_PHASES


def test_every_phase_is_explained_and_reached() -> None:
    assert tuple(PHASES) == CONDITION_TYPES
    assert {rule.phase for rule in RULES} == set(CONDITION_TYPES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.phase} {rule.when}")
def test_the_page_shows_every_row(rule: Rule) -> None:
    assert f"| {rule.when} | {rule.phase} | `{rule.reason}` |" in page()


def test_an_empty_status_is_rebuilt_as_it_was() -> None:
    job = make_job(SROJobStatus())
    for view in views():
        again = replace(view, job=job.model_copy(update={"spec": view.job.spec}))
        assert situation_of(again) == situation_of(view)
