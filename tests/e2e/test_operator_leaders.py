"""Two operators: one works, the other stands by and takes over. `make handover` repeats it and looks for two writers at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before its import, or its assertions would fail without a word.
pytest.register_assert_rewrite("operator_stage")

from operator_stage import SYSTEM, OperatorProcess, Stage, wait_until  # noqa: E402
from sro_cluster.controlplane import ControlPlane  # noqa: E402

pytestmark = pytest.mark.e2e
pytest_plugins = ["operator_stage"]

ELECTED = {"SRO_LEASE_NAMESPACE": SYSTEM, "SRO_LEASE_SECONDS": "6", "SRO_RESYNC_SECONDS": "60"}


@pytest.fixture
def pair(operator: OperatorProcess, plane: ControlPlane) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """Two operators that elect a leader, in place of the one that needs no election; the first leads."""
    operator.stop()
    first, second = (
        OperatorProcess(kubeconfig=operator.kubeconfig, log=plane.directory / f"replica-{number}.log", settings=ELECTED)
        for number in (1, 2)
    )
    with first:
        wait_until(lambda: leads(first), "the first leads", first.log.read_text)
        with second:
            yield first, second
    operator.start()


def leads(process: OperatorProcess) -> bool:
    """Whether it says that it does."""
    return "sro_leader 1.0" in process.page("/metrics")[1]


def test_a_standby_is_ready_and_does_not_work(pair: tuple[OperatorProcess, OperatorProcess], stage: Stage) -> None:
    first, second = pair
    stage.submit()
    stage.wait_phase("Queued")
    assert second.page("/readyz") == (200, "ok\n")
    assert (leads(first), leads(second)) == (True, False)
    assert 'verb="POST"' not in second.page("/metrics")[1]


def test_a_standby_takes_over_when_the_leader_is_killed(
    pair: tuple[OperatorProcess, OperatorProcess], stage: Stage
) -> None:
    first, second = pair
    stage.submit("before")
    stage.wait_phase("Queued", "before")
    first.kill()
    stage.submit("after")
    stage.wait_phase("Queued", "after")
    assert leads(second)
    # Replaced, so that the fixture finds it running.
    first.start()
    assert not leads(first)


def test_a_leader_that_is_told_to_end_gives_the_lease_up(
    pair: tuple[OperatorProcess, OperatorProcess], stage: Stage
) -> None:
    first, second = pair
    first.stop()
    lease = stage.kubectl.get("lease", "sro-operator", "-n", SYSTEM)
    assert lease["spec"]["leaseDurationSeconds"] == 1 or lease["spec"]["holderIdentity"]
    stage.submit()
    stage.wait_phase("Queued")
    assert leads(second)
