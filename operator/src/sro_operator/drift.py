"""Whether a child is still as it was made. Pure."""

from __future__ import annotations

from typing import Any

from sro_api.base import Manifest

JOB_FIELDS = ("completions", "parallelism", "backoffLimit")
"""What of a Job's spec can be edited; the rest the API server keeps as it is. `suspend` is a queue's."""


def has_drifted(actual: Manifest, desired: Manifest) -> bool:
    """Whether anything that we set is otherwise, or a label, an owner or a note of ours is missing. What others add may stay."""
    wanted = {**desired, "metadata": _owned_metadata(desired)}
    if desired["kind"] == "Job":
        wanted["spec"] = {name: desired["spec"][name] for name in JOB_FIELDS}
    del wanted["apiVersion"], wanted["kind"]
    (owner,) = desired["metadata"]["ownerReferences"]
    owners = actual["metadata"].get("ownerReferences", ())
    return not (_covers(actual, wanted) and any(_covers(each, owner) for each in owners))


def _owned_metadata(desired: Manifest) -> Manifest:
    metadata = desired["metadata"]
    return {name: metadata[name] for name in ("labels", "annotations") if name in metadata}


def _covers(actual: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(
            key in actual and _covers(actual[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(wanted)
            and all(_covers(one, other) for one, other in zip(actual, wanted, strict=True))
        )
    return bool(actual == wanted)
