"""How many processor cores this process may use: of a container with a CPU limit fewer than the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = CGROUP) -> int:
    """Cores by affinity and by the control group's quota, at least 1.

    Threads beyond the quota do not merely idle: each barrier of a parallel loop waits for those that are throttled.

    Args:
        cgroup: where the control group of this process is mounted; version 1 and version 2 are read.
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def _quota(cgroup: Path) -> float | None:
    """CPU seconds per second; None where there is no limit."""
    if (unified := cgroup / "cpu.max").exists():
        limit, period = unified.read_text(encoding="ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    quota, period_file = (cgroup / "cpu" / name for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    if quota.exists() and (limit_us := int(quota.read_text(encoding="ascii"))) > 0:
        return limit_us / int(period_file.read_text(encoding="ascii"))
    return None
