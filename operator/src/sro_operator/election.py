"""Who leads: one process holds a coordination.k8s.io Lease, the others stand by with warm caches.

No two clocks are compared. A standby takes the lease over when it has seen the same renewal for the lease's whole duration, by its own
steady clock. The holder counts from before it asked for its last renewal, and stops writing earlier than that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sro_api.base import Manifest
from sro_operator.errors import ApiError
from sro_operator.keys import Key

logger = logging.getLogger(__name__)


class LeasePort(Protocol):
    """Reads and writes of Leases. Every method raises ApiError when its request fails."""

    async def get_lease(self, key: Key) -> Manifest | None:
        """A Lease; None if there is none."""

    async def put_lease(self, lease: Manifest, *, is_new: bool) -> Manifest:
        """Make it, or replace it in the version that was read; a conflict if somebody was quicker."""


@dataclass(frozen=True, kw_only=True)
class LeaseTerms:
    """How a lease is held."""

    key: Key
    identity: str
    """Of this process."""
    duration_seconds: int
    """After so long without a renewal another process may take over."""
    renew_seconds: float
    """Pause between two renewals, and between two looks of a standby."""

    @property
    def writing_seconds(self) -> float:
        """How long after asking for a renewal the holder still writes: what is on its way must have arrived by takeover."""
        return self.duration_seconds - self.renew_seconds


@dataclass(frozen=True)
class _Sight:
    """What a standby last saw of the lease, and since when it is so."""

    version: str
    since: float


class Election:
    """This process's part in the election."""

    def __init__(self, cluster: LeasePort, terms: LeaseTerms, clock: Callable[[], float] = time.monotonic) -> None:
        """Build it as a standby.

        Args:
            cluster: to read and write the lease.
            terms: of the lease.
            clock: steady seconds.
        """
        self._cluster = cluster
        self._terms = terms
        self._clock = clock
        self._until = -math.inf
        self._held: Manifest | None = None
        self._sight: _Sight | None = None

    def seconds_to_write(self) -> float:
        """For how long this process may still write; 0 or less if it does not lead."""
        return self._until - self._clock()

    @property
    def leads(self) -> bool:
        """Whether this process may write."""
        return self.seconds_to_write() > 0

    async def run(self, on_gain: Callable[[], None], on_loss: Callable[[], Awaitable[None]]) -> None:
        """Take part until cancelled; tell when leadership begins and ends."""
        led = False
        while True:
            await self._try()
            if self.leads and not led:
                logger.info("leading", extra={"identity": self._terms.identity})
                led = True
                on_gain()
            elif led and not self.leads:
                logger.warning("no longer leading", extra={"identity": self._terms.identity})
                led = False
                await on_loss()
            await asyncio.sleep(self._pause())

    async def release(self) -> None:
        """Give the lease up, so that a standby need not wait for its end."""
        held, self._until = self._held, -math.inf
        if held is None:
            return
        self._held = None
        spec = {**held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._cluster.put_lease({**held, "spec": spec}, is_new=False)
        except ApiError as error:
            logger.info("lease not released", extra={"cause": str(error)})

    def _pause(self) -> float:
        """Until the next renewal or look; a standby looks again just when the lease ends."""
        if self.leads or self._sight is None:
            return self._terms.renew_seconds
        left = self._sight.since + self._terms.duration_seconds - self._clock()
        return max(0.05, min(self._terms.renew_seconds, left))

    async def _try(self) -> None:
        try:
            await self._renew() if self._held is not None else await self._stand()
        except ApiError as error:
            if error.is_conflict:
                # Somebody else wrote it: whoever that was, this process does not know that it leads.
                self._held, self._until = None, -math.inf
            logger.info("lease not written", extra={"cause": str(error)})

    async def _renew(self) -> None:
        assert self._held is not None
        await self._put(self._held, self._held["spec"].get("leaseTransitions", 0), is_new=False)

    async def _stand(self) -> None:
        lease = await self._cluster.get_lease(self._terms.key)
        if lease is None:
            metadata = {"name": self._terms.key.name, "namespace": self._terms.key.namespace}
            fresh = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}
            await self._put(fresh, 0, is_new=True)
            return
        spec = lease.get("spec") or {}
        version = lease["metadata"]["resourceVersion"]
        if self._sight is None or self._sight.version != version:
            self._sight = _Sight(version, self._clock())
        lasts = max(float(spec.get("leaseDurationSeconds") or 0), float(self._terms.duration_seconds))
        has_ended = not spec.get("holderIdentity") or self._clock() - self._sight.since >= lasts
        if has_ended:
            await self._put(lease, int(spec.get("leaseTransitions") or 0) + 1, is_new=False)

    async def _put(self, lease: Manifest, transitions: int, *, is_new: bool) -> None:
        asked, now = self._clock(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = lease["spec"] if self._held is not None else {}
        spec = {
            "holderIdentity": self._terms.identity,
            "leaseDurationSeconds": self._terms.duration_seconds,
            "acquireTime": before.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        metadata = {key: value for key, value in lease["metadata"].items() if key != "managedFields"}
        self._held = await self._cluster.put_lease({**lease, "metadata": metadata, "spec": spec}, is_new=is_new)
        self._until = asked + self._terms.writing_seconds
