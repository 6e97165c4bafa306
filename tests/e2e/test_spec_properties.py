"""For any spec at all: it is refused at admission, by both judges alike, or it reaches training; nothing in between.

`make test-properties` tries thousands; without `SRO_SPECS` a hundred are tried.
"""

from __future__ import annotations

import asyncio
import copy
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kubernetes import client

from admission_client import SroJobs, sro_jobs
from spec_strategies import manifests, varied
from sro_api.admission import admit
from sro_cluster.client import Kubectl
from sro_cluster.controlplane import ControlPlane
from sro_operator.keys import Key
from sro_operator.memory import PodMemory
from sro_operator.reconcile import JobReconciler
from sro_operator.settings import OperatorSettings
from sro_operator.testing import FakeCluster, VirtualClock

pytestmark = pytest.mark.e2e

SPECS = int(os.environ.get("SRO_SPECS", "100"))
Manifest = dict[str, Any]
_QUIET = (
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.function_scoped_fixture,
    HealthCheck.filter_too_much,
)
_TRIED = settings(
    max_examples=SPECS,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=_QUIET,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


@dataclass(kw_only=True)
class Judge:
    """The API server, and how often it said what."""

    jobs: SroJobs
    batch: client.BatchV1Api
    said: Counter[str] = field(default_factory=Counter)

    def takes_job(self, job: Manifest) -> None:
        """A dry run of what the operator would make.

        Raises:
            ApiException: it would be refused.
        """
        # Its owner is not on this server.
        metadata = {key: job["metadata"][key] for key in ("name", "labels", "annotations")}
        body = {key: job[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
        self.batch.create_namespaced_job("default", body, dry_run="All", field_validation="Strict")


@pytest.fixture(scope="module")
def judge(control_plane: ControlPlane, kubectl: Kubectl) -> Iterator[Judge]:
    with sro_jobs(control_plane, kubectl) as jobs:
        judge = Judge(jobs=jobs, batch=client.BatchV1Api(jobs.api.api_client))
        yield judge
        print(f"\nspecs tried {sum(judge.said.values())}: {dict(judge.said)}", file=sys.stderr)


def operated(manifest: Manifest) -> FakeCluster:
    """What the operator makes of a job that was admitted, in a first look."""
    clock = VirtualClock()
    cluster = FakeCluster(clock)
    stored = copy.deepcopy(manifest)
    stored["metadata"] |= {"uid": "uid-of-case", "namespace": "team"}
    cluster.put(stored)
    reconciler = JobReconciler(cluster, cluster.cache, OperatorSettings(), PodMemory(), clock)
    asyncio.run(reconciler(Key(namespace="team", name=stored["metadata"]["name"])))
    return cluster


@_TRIED
@given(manifest=manifests())
def test_a_spec_is_refused_by_both_judges_or_makes_a_job_that_the_api_server_takes(
    judge: Judge, manifest: Manifest
) -> None:
    refusal, made = judge.jobs.create(copy.deepcopy(manifest))
    problems = admit(copy.deepcopy(manifest))
    assert bool(problems) == bool(refusal), (refusal, [str(problem) for problem in problems])
    judge.said["refused" if refusal else "admitted"] += 1
    if refusal:
        return
    cluster = operated(made)
    name = made["metadata"]["name"]
    status = cluster.get("SROJob", name)["status"]
    if made["spec"].get("runPolicy", {}).get("suspend"):
        assert status["phase"] == "Suspended"
    elif made["spec"].get("compute", {}).get("gangScheduling") in ("Kubernetes", "Coscheduling", "Volcano") and (
        made["spec"]["compute"]["nodes"] > 1
    ):
        assert "which this cluster does not serve" in status["conditions"][0]["message"]
    else:
        assert status["phase"] == "Queued"
        judge.takes_job(cluster.get("Job", f"{name}-a1"))


@_TRIED
@given(data=st.data())
def test_a_change_is_refused_or_can_be_taken_back(judge: Judge, data: st.DataObject) -> None:
    first = data.draw(manifests())
    first["metadata"]["name"] = "changing"
    refusal, _ = judge.jobs.create(copy.deepcopy(first), dry_run=False)
    if refusal:
        judge.said["refused"] += 1
        return
    try:
        before = judge.jobs.read("changing")
        second = data.draw(varied(before))
        refusal = judge.jobs.replace(second)
        judge.said["change refused" if refusal else "change taken"] += 1
        if refusal:
            assert judge.jobs.read("changing")["spec"] == before["spec"]
            return
        back = {**before, "metadata": {**before["metadata"]}}
        del back["metadata"]["resourceVersion"]
        current = judge.jobs.read("changing")["metadata"]["resourceVersion"]
        assert judge.jobs.replace({**back, "metadata": {**back["metadata"], "resourceVersion": current}}) == ""
        assert judge.jobs.read("changing")["spec"] == before["spec"]
    finally:
        judge.jobs.delete("changing")
