"""Which PodGroups are found in what an API server says that it serves."""

from __future__ import annotations

import asyncio

import pytest

from sro_api.base import Manifest
from sro_operator.discovery import pod_group_kinds


class Server:
    """Serves these versions; the first of each group is preferred."""

    def __init__(self, versions: dict[str, tuple[str, ...]]) -> None:
        self._versions = versions

    async def served(self, path: str = "") -> Manifest:
        if path:
            return {"resources": [{"name": name} for name in self._versions[path]]}
        groups: dict[str, list[Manifest]] = {}
        for version in self._versions:
            groups.setdefault(version.partition("/")[0], []).append({"groupVersion": version})
        return {
            "groups": [
                {"name": name, "preferredVersion": versions[0], "versions": versions}
                for name, versions in groups.items()
            ]
        }


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({"apps/v1": ("deployments",)}, []),
        ({"scheduling.k8s.io/v1": ("priorityclasses",)}, []),
        (
            {"scheduling.k8s.io/v1": ("priorityclasses",), "scheduling.k8s.io/v1alpha2": ("workloads", "podgroups")},
            ["scheduling.k8s.io/v1alpha2"],
        ),
        (
            {"scheduling.k8s.io/v1beta1": ("podgroups",), "scheduling.k8s.io/v1alpha3": ("podgroups",)},
            ["scheduling.k8s.io/v1beta1"],
        ),
        (
            {
                "scheduling.x-k8s.io/v1alpha1": ("podgroups", "podgroups/status"),
                "scheduling.volcano.sh/v1beta1": ("podgroups",),
            },
            ["scheduling.x-k8s.io/v1alpha1", "scheduling.volcano.sh/v1beta1"],
        ),
        ({"other.example/v1": ("podgroups",)}, []),
    ],
    ids=[
        "no such group",
        "no PodGroups in it",
        "beside the preferred version",
        "two versions",
        "two schedulers",
        "a stranger",
    ],
)
def test_one_version_of_each_group_that_has_them(versions: dict[str, tuple[str, ...]], found: list[str]) -> None:
    kinds = asyncio.run(pod_group_kinds(Server(versions)))
    assert [kind.api_version for kind in kinds] == found
