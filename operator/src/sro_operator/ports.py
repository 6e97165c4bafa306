"""What the reconciler needs of a cluster: Cluster has it, and so has the fake of the unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from sro_api.base import Manifest
from sro_operator.keys import Key


class ClusterPort(Protocol):
    """Reads and writes. Every method raises ApiError when its request fails."""

    async def get_sro_job(self, key: Key) -> Manifest | None:
        """The SROJob; None if there is none."""

    def sro_jobs(self, namespaces: tuple[str, ...]) -> AsyncIterator[Manifest]:
        """Every SROJob of these namespaces, or of the whole cluster."""

    async def jobs_of(self, key: Key) -> list[Manifest]:
        """The Jobs that carry its name."""

    async def pods_of(self, key: Key) -> list[Manifest]:
        """The pods that carry its name."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply of a child."""

    async def apply_status(self, key: Key, uid: str, status: Manifest) -> Manifest:
        """Server-side apply of the operator's part of the status."""

    async def delete(self, kind: str, key: Key, *, uid: str | None = None, resource_version: str | None = None) -> None:
        """Delete one object; no error if it is gone."""

    async def create_event(self, event: Manifest) -> None:
        """Write an event."""

    async def close(self) -> None:
        """Close the connections."""
