"""Who leads, on a virtual clock: takeover, loss, and never two at once."""

from __future__ import annotations

import asyncio
import copy

import pytest

from sro_api.base import Manifest
from sro_operator.election import Election, LeaseTerms
from sro_operator.errors import ApiError
from sro_operator.keys import Key

KEY = Key(namespace="sro-system", name="sro-operator")


class FakeLease:
    """One Lease, as an API server keeps it."""

    def __init__(self) -> None:
        self.lease: Manifest | None = None
        self.is_out_of_reach: set[str] = set()
        self._version = 0

    async def get_lease(self, key: Key) -> Manifest | None:
        return copy.deepcopy(self.lease) if key == KEY else None

    async def put_lease(self, lease: Manifest, *, is_new: bool) -> Manifest:
        read = lease["metadata"].get("resourceVersion")
        if is_new != (self.lease is None) or (self.lease and self.lease["metadata"]["resourceVersion"] != read):
            raise ApiError(409, "conflict")
        self._version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.lease)


class Reach:
    """A process's way to the Lease, which can be cut."""

    def __init__(self, store: FakeLease) -> None:
        self._store = store
        self.is_cut = False

    async def get_lease(self, key: Key) -> Manifest | None:
        self._check()
        return await self._store.get_lease(key)

    async def put_lease(self, lease: Manifest, *, is_new: bool) -> Manifest:
        self._check()
        return await self._store.put_lease(lease, is_new=is_new)

    def _check(self) -> None:
        if self.is_cut:
            raise ApiError(0, "no route")


class Site:
    """Two processes and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = FakeLease()
        self.ways = [Reach(self.store), Reach(self.store)]
        self.processes = [Election(way, terms(f"p{i}"), lambda: self.now) for i, way in enumerate(self.ways)]

    def turn(self, *indices: int) -> None:
        """These processes try once."""
        for index in indices:
            asyncio.run(self.processes[index]._try())

    @property
    def leaders(self) -> list[int]:
        return [index for index, process in enumerate(self.processes) if process.leads]


def terms(identity: str) -> LeaseTerms:
    return LeaseTerms(key=KEY, identity=identity, duration_seconds=9, renew_seconds=2)


def test_the_first_to_ask_leads_and_the_second_stands_by() -> None:
    site = Site()
    site.turn(0, 1)
    assert site.leaders == [0]
    assert site.store.lease is not None
    assert site.store.lease["spec"]["holderIdentity"] == "p0"


def test_a_leader_that_renews_goes_on_leading() -> None:
    site = Site()
    for _ in range(50):
        site.turn(0, 1)
        site.now += 2
    assert site.leaders == [0]


def test_a_leader_that_died_is_followed_when_its_lease_has_ended() -> None:
    site = Site()
    site.turn(0, 1)
    site.now += 8.9
    site.turn(1)
    assert site.leaders == []
    site.now += 0.2
    site.turn(1)
    assert site.leaders == [1]
    assert site.store.lease is not None
    assert site.store.lease["spec"]["leaseTransitions"] == 1


def test_a_leader_without_a_way_to_the_lease_stops_before_another_begins() -> None:
    site = Site()
    site.turn(0, 1)
    site.ways[0].is_cut = True
    for tenth in range(150):
        site.turn(0, 1)
        assert len(site.leaders) < 2, f"after {tenth / 10} s"
        site.now += 0.1
    assert site.leaders == [1]


def test_a_leader_that_slept_does_not_write_when_it_wakes() -> None:
    site = Site()
    site.turn(0, 1)
    site.now += 60
    assert site.processes[0].seconds_to_write() < 0
    site.turn(1, 0)
    assert site.leaders == [1]


def test_a_lease_that_was_released_is_taken_at_once() -> None:
    site = Site()
    site.turn(0, 1)
    asyncio.run(site.processes[0].release())
    assert site.leaders == []
    site.turn(1)
    assert site.leaders == [1]


def test_a_lease_that_was_deleted_is_made_anew_by_one() -> None:
    site = Site()
    site.turn(0, 1)
    site.store.lease = None
    site.turn(0)
    assert site.leaders == []
    site.turn(1, 0)
    assert site.leaders == [1]


@pytest.mark.parametrize("late", [0.0, 3.0, 6.9])
def test_a_renewal_counts_from_when_it_was_asked_for(late: float) -> None:
    site = Site()
    site.turn(0)
    site.now += late
    assert site.processes[0].seconds_to_write() == pytest.approx(7 - late)
