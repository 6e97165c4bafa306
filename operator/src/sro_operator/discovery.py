"""Which PodGroups the API server knows, in which version: a scheduler may bring its own, and those of Kubernetes move on."""

from __future__ import annotations

from typing import Protocol

from sro_api.base import Manifest
from sro_operator.kinds import GANG_GROUPS, Kind, pod_group_kind


class DiscoveryPort(Protocol):
    """The part of a cluster that tells what it serves. Every method raises ApiError when its request fails."""

    async def served(self, path: str = "") -> Manifest:
        """The API groups, or under `GROUP/VERSION` the resources of one."""


async def pod_group_kinds(cluster: DiscoveryPort) -> list[Kind]:
    """One version of each API group that has PodGroups: the preferred one if it has them."""
    groups = (await cluster.served())["groups"]
    found = []
    for group in (each for each in groups if each["name"] in GANG_GROUPS):
        preferred = group["preferredVersion"]["groupVersion"]
        versions = [version["groupVersion"] for version in group["versions"]]
        for version in sorted(versions, key=lambda each: each != preferred):
            served = await cluster.served(version)
            if any(resource["name"] == "podgroups" for resource in served["resources"]):
                found.append(pod_group_kind(version))
                break
    return found
