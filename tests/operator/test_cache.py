"""The cache: of two versions the newer counts, and what was deleted stays so."""

from __future__ import annotations

import random

import pytest

from sro_api.base import Manifest
from sro_api.labels import ATTEMPT_LABEL, JOB_NAME_LABEL
from sro_operator.cache import Cache
from sro_operator.keys import Key
from sro_operator.testing import make_manifest

KEY = Key(namespace="team", name="demo")


def job(version: int, uid: str = "u", name: str = "demo-a1", owner: str | None = "demo") -> Manifest:
    labels = {} if owner is None else {JOB_NAME_LABEL: owner}
    metadata = {"name": name, "namespace": "team", "uid": uid, "resourceVersion": str(version), "labels": labels}
    spec = {"parallelism": version, "template": {"spec": "large"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**metadata, "managedFields": ["x"]}, "spec": spec}


def seen(cache: Cache) -> list[int]:
    return [int(each["metadata"]["resourceVersion"]) for each in cache.jobs_of(KEY)]


def test_a_newer_version_is_news_and_an_older_or_the_same_is_not() -> None:
    cache = Cache()
    assert [cache.saw(job(version)) for version in (5, 5, 4, 6)] == [True, False, False, True]
    assert seen(cache) == [6]


def pod(version: int, phase: str, owner: str = "demo", **spec: str) -> Manifest:
    labels = {JOB_NAME_LABEL: owner, ATTEMPT_LABEL: "1"}
    metadata = {"name": "p", "namespace": "team", "uid": "p", "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}


def test_a_pod_that_changed_in_nothing_that_is_kept_is_no_news() -> None:
    cache = Cache()
    assert cache.saw(pod(1, "Pending"))
    # As when it is bound to a node.
    assert not cache.saw(pod(2, "Pending", nodeName="n"))
    assert cache.pods.versions(None) == {"p": 2}
    assert cache.saw(pod(3, "Running", nodeName="n"))
    assert cache.saw(pod(4, "Running", "other", nodeName="n"))


def test_templates_and_field_managers_are_not_kept() -> None:
    cache = Cache()
    cache.saw(job(1))
    (kept,) = cache.jobs_of(KEY)
    assert kept["spec"] == {"parallelism": 1}
    assert "managedFields" not in kept["metadata"]


def test_what_was_deleted_is_not_raised_by_a_late_event() -> None:
    cache = Cache()
    cache.saw(job(5))
    assert cache.of_kind("Job").saw_gone("u", 7)
    assert not cache.saw(job(6))
    assert seen(cache) == []


def test_a_child_that_left_and_got_its_label_back_is_there_again() -> None:
    cache = Cache()
    cache.saw(job(5))
    cache.of_kind("Job").saw_gone("u", 6)
    assert cache.saw(job(7))
    assert seen(cache) == [7]


def test_a_late_deletion_does_not_take_what_came_back() -> None:
    cache = Cache()
    cache.saw(job(7))
    assert not cache.of_kind("Job").saw_gone("u", 6)
    assert seen(cache) == [7]


def test_a_child_that_lost_its_label_belongs_to_nobody() -> None:
    cache = Cache()
    cache.saw(job(5))
    assert cache.saw(job(6, owner=None))
    assert seen(cache) == []


def test_a_child_that_changed_hands_leaves_the_first() -> None:
    cache = Cache()
    cache.saw(job(5))
    cache.saw(job(6, owner="other"))
    assert seen(cache) == []
    assert len(cache.jobs_of(Key(namespace="team", name="other"))) == 1


def test_a_list_removes_what_it_lacks_but_for_what_is_newer_than_the_list() -> None:
    cache = Cache()
    for version, uid in ((5, "old"), (9, "new")):
        cache.saw(job(version, uid))
    jobs = cache.of_kind("Job")
    assert jobs.saw_page([job(7, "listed")]) == {KEY}
    assert jobs.saw_page([job(7, "listed")]) == set()
    assert jobs.lost({"listed"}, 7) == {KEY}
    assert sorted(seen(cache)) == [7, 9]


def test_a_list_of_one_namespace_says_nothing_of_another() -> None:
    cache = Cache()
    cache.saw(job(5))
    assert cache.of_kind("Job").lost(set(), 9, "elsewhere") == set()
    assert seen(cache) == [5]


@pytest.mark.parametrize("seed", range(20))
def test_events_doubled_and_in_any_order_end_in_the_newest_version(seed: int) -> None:
    cache, order = Cache(), [job(version) for version in range(1, 9)] * 2
    random.Random(seed).shuffle(order)
    for manifest in order:
        cache.saw(manifest)
    assert seen(cache) == [8]


def test_of_two_srojobs_of_one_name_the_newer_counts() -> None:
    cache, old, new = Cache(), make_manifest(), make_manifest()
    new["metadata"] |= {"uid": "second", "resourceVersion": "9"}
    cache.saw(new)
    cache.saw(old)
    found = cache.sro_job(KEY)
    assert found is not None
    assert found["metadata"]["uid"] == "second"
