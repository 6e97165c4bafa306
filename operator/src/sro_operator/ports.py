"""What the reconciler needs of a cluster: Cluster has it, and so has the fake of the unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from sro_api.base import Manifest
from sro_operator.keys import Key
from sro_operator.kinds import Kind


class ClusterPort(Protocol):
    """Reads that the cache cannot answer, and writes. Every method raises ApiError when its request fails."""

    async def find_sro_job(self, key: Key) -> Manifest | None:
        """The SROJob as it is now; None if there is none."""

    def sro_jobs(self, namespaces: tuple[str, ...]) -> AsyncIterator[Manifest]:
        """Every SROJob of these namespaces, or of the whole cluster."""

    async def jobs_of(self, key: Key) -> list[Manifest]:
        """The Jobs that carry its name, as they are now."""

    async def pods_of(self, key: Key) -> list[Manifest]:
        """The pods that carry its name, as they are now."""

    async def find_job(self, key: Key) -> Manifest | None:
        """The Job of this name, whatever labels it carries; None if there is none."""

    async def refusal_of_pods(self, key: Key) -> str:
        """What the Job controller was last told when it was not let make this Job's pods; empty if it was."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Make a child."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply of a child."""

    async def merge(self, manifest: Manifest) -> Manifest:
        """Strategic merge patch of a child: what is not named stays."""

    async def apply_status(self, key: Key, manifest: Manifest, status: Manifest) -> Manifest:
        """Server-side apply of the operator's part of the status, to the SROJob as it was read and to no other."""

    async def delete(
        self, kind: Kind, key: Key, *, uid: str | None = None, resource_version: str | None = None
    ) -> Manifest | None:
        """Delete one object; what is left of it while it waits for others; no error if it is gone."""

    async def create_event(self, event: Manifest) -> None:
        """Write an event."""

    @property
    def answer_seconds(self) -> float:
        """How long the API server has lately taken to answer."""

    async def close(self) -> None:
        """Close the connections."""
