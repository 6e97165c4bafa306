"""Gangs and placement: which PodGroup an attempt is given, how its pods name it, and where they may stand."""

from __future__ import annotations

from typing import Any

import pytest

from sro_operator.builders.pod_group import NoGangError, pod_group_of
from sro_operator.desired import Children, desired_children
from sro_operator.settings import OperatorSettings
from sro_operator.testing import JOB_UID, make_job

SETTINGS = OperatorSettings(trainer_image="registry/trainer:1")
NATIVE = "scheduling.k8s.io/v1alpha2"
COSCHEDULING = "scheduling.x-k8s.io/v1alpha1"
VOLCANO = "scheduling.volcano.sh/v1beta1"
ALL = {version.partition("/")[0]: version for version in (NATIVE, COSCHEDULING, VOLCANO)}
ONLY_NATIVE = {"scheduling.k8s.io": NATIVE}


def made(pod_group: str = "", *, annotations: dict[str, str] | None = None, **compute: object) -> Children:
    job = make_job(None, annotations=annotations, compute={"nodes": 3, **compute})
    return desired_children(job, SETTINGS, 2, pod_group=pod_group)


def template(children: Children) -> dict[str, Any]:
    found: dict[str, Any] = children.job["spec"]["template"]
    return found


@pytest.mark.parametrize(
    ("wanted", "nodes", "served", "expected"),
    [
        ("Auto", 2, ALL, NATIVE),
        ("Auto", 2, {"scheduling.k8s.io": "scheduling.k8s.io/v1beta1"}, "scheduling.k8s.io/v1beta1"),
        ("Auto", 2, {"scheduling.volcano.sh": VOLCANO}, ""),
        ("Auto", 2, {}, ""),
        ("Auto", 1, ALL, ""),
        ("Kubernetes", 2, ALL, NATIVE),
        ("Coscheduling", 2, ALL, COSCHEDULING),
        ("Volcano", 2, ALL, VOLCANO),
        ("Volcano", 1, {}, ""),
        ("None", 2, ALL, ""),
    ],
)
def test_the_group_is_that_of_the_scheduler_asked_for(
    wanted: str, nodes: int, served: dict[str, str], expected: str
) -> None:
    assert pod_group_of(make_job(None, compute={"nodes": nodes, "gangScheduling": wanted}), served) == expected


@pytest.mark.parametrize(
    ("wanted", "group"),
    [
        ("Kubernetes", "scheduling.k8s.io"),
        ("Coscheduling", "scheduling.x-k8s.io"),
        ("Volcano", "scheduling.volcano.sh"),
    ],
)
def test_a_group_that_the_cluster_does_not_know_is_an_error_that_names_it(wanted: str, group: str) -> None:
    job = make_job(None, compute={"nodes": 2, "gangScheduling": wanted})
    with pytest.raises(NoGangError, match=f"spec.compute.gangScheduling: '{wanted}' needs PodGroups of {group}, which"):
        pod_group_of(job, {})


@pytest.mark.parametrize(
    ("api_version", "compute", "spec"),
    [
        (NATIVE, {}, {"schedulingPolicy": {"gang": {"minCount": 3}}}),
        (NATIVE, {"minNodes": 2}, {"schedulingPolicy": {"gang": {"minCount": 2}}}),
        (COSCHEDULING, {}, {"minMember": 3}),
        (VOLCANO, {}, {"minMember": 3, "queue": "research"}),
        (VOLCANO, {"priorityClassName": "high"}, {"minMember": 3, "queue": "research", "priorityClassName": "high"}),
    ],
)
def test_the_group_holds_its_pods_back_until_enough_can_start(
    api_version: str, compute: dict[str, object], spec: dict[str, object]
) -> None:
    group = made(api_version, annotations={"scheduling.volcano.sh/queue-name": "research"}, **compute).pod_group
    assert group is not None
    assert (group["apiVersion"], group["kind"], group["spec"]) == (api_version, "PodGroup", spec)
    assert group["metadata"]["name"] == "demo-a2"
    assert group["metadata"]["ownerReferences"][0]["uid"] == JOB_UID


def test_pods_name_their_group_as_their_scheduler_reads_it() -> None:
    plain = template(made())
    native, coscheduling, volcano = (template(made(version)) for version in (NATIVE, COSCHEDULING, VOLCANO))
    assert native["spec"] == {**plain["spec"], "schedulingGroup": {"podGroupName": "demo-a2"}}
    assert native["metadata"] == plain["metadata"]
    assert coscheduling["spec"] == {**plain["spec"], "schedulerName": "scheduler-plugins-scheduler"}
    label = {"scheduling.x-k8s.io/pod-group": "demo-a2"}
    assert coscheduling["metadata"]["labels"] == {**plain["metadata"]["labels"], **label}
    assert volcano["spec"] == {**plain["spec"], "schedulerName": "volcano"}
    note = {"scheduling.k8s.io/group-name": "demo-a2"}
    assert volcano["metadata"]["annotations"] == {**plain["metadata"]["annotations"], **note}


def test_a_scheduler_that_is_named_takes_the_place_of_the_usual_one() -> None:
    assert template(made(VOLCANO, schedulerName="other"))["spec"]["schedulerName"] == "other"
    assert template(made(schedulerName="other"))["spec"]["schedulerName"] == "other"


def test_the_job_remembers_its_group_and_the_group_is_made_before_it() -> None:
    children = made(NATIVE)
    assert children.job["metadata"]["annotations"]["sro.dev/pod-group"] == NATIVE
    first, *_, last = children.waves
    assert children.pod_group in first
    assert last == (children.job,)
    assert "sro.dev/pod-group" not in made().job["metadata"]["annotations"]


def test_placement_becomes_affinity_and_spread_beside_what_the_user_wrote() -> None:
    given = {
        "nodeAffinity": {"x": 1},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": ["theirs"]},
    }
    placement = {"together": "zone", "spread": "kubernetes.io/hostname", "exclusive": "rack"}
    spec = template(made(affinity=given, placement=placement))["spec"]
    own = {"matchLabels": {"sro.dev/job-uid": JOB_UID, "sro.dev/attempt": "2"}}
    assert own["matchLabels"].items() <= template(made())["metadata"]["labels"].items()
    together = {"topologyKey": "zone", "labelSelector": own}
    assert spec["affinity"]["podAffinity"] == {"requiredDuringSchedulingIgnoredDuringExecution": [together]}
    theirs, exclusive = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert theirs == "theirs"
    assert (exclusive["topologyKey"], exclusive["namespaceSelector"]) == ("rack", {})
    assert exclusive["labelSelector"]["matchExpressions"] == [
        {"key": "sro.dev/job-uid", "operator": "Exists"},
        {"key": "sro.dev/job-uid", "operator": "NotIn", "values": [JOB_UID]},
    ]
    assert spec["affinity"]["nodeAffinity"] == {"x": 1}
    assert spec["topologySpreadConstraints"] == [
        {
            "topologyKey": "kubernetes.io/hostname",
            "maxSkew": 1,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": own,
        }
    ]


def test_without_placement_nothing_is_added() -> None:
    assert {"affinity", "topologySpreadConstraints", "schedulerName"} & set(template(made())["spec"]) == set()
    assert template(made(affinity={"nodeAffinity": {}}))["spec"]["affinity"] == {"nodeAffinity": {}}
