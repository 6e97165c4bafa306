"""Where the pods of an attempt stand to each other and to those of other jobs, as affinity and spread constraints. Pure."""

from __future__ import annotations

from typing import Any

from sro_api.base import Manifest
from sro_api.labels import ATTEMPT_LABEL, JOB_UID_LABEL
from sro_api.v1alpha1 import SROJob


def build_placement(job: SROJob, attempt: int) -> Manifest:
    """The part of a pod's spec that says where it may stand: `affinity` and `topologySpreadConstraints`, as far as anything does."""
    placement, given = job.spec.compute.placement, job.spec.compute.affinity
    uid = str(job.metadata["uid"])
    own = {"matchLabels": {JOB_UID_LABEL: uid, ATTEMPT_LABEL: str(attempt)}}
    spec: Manifest = {"affinity": given} if given else {}
    if placement is None:
        return spec
    if placement.together is not None:
        # The first pod matches its own term, so it may stand anywhere; the others follow it.
        term = {"topologyKey": placement.together, "labelSelector": own}
        spec["affinity"] = _with_term(spec.get("affinity"), "podAffinity", term)
    if placement.exclusive is not None:
        others = [
            {"key": JOB_UID_LABEL, "operator": "Exists"},
            {"key": JOB_UID_LABEL, "operator": "NotIn", "values": [uid]},
        ]
        # The scheduler honours it for pods that come later, too, whatever they ask for themselves.
        term = {
            "topologyKey": placement.exclusive,
            "labelSelector": {"matchExpressions": others},
            "namespaceSelector": {},
        }
        spec["affinity"] = _with_term(spec.get("affinity"), "podAntiAffinity", term)
    if placement.spread is not None:
        spec["topologySpreadConstraints"] = [
            {"topologyKey": placement.spread, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": own}
        ]
    return spec


def _with_term(affinity: Manifest | None, side: str, term: Manifest) -> Manifest:
    """An affinity with one more term that must be met, beside those that the user wrote."""
    affinity = affinity or {}
    field = "requiredDuringSchedulingIgnoredDuringExecution"
    part: dict[str, Any] = affinity.get(side) or {}
    return {**affinity, side: {**part, field: [*(part.get(field) or ()), term]}}
