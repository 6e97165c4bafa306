"""A container with a CPU limit gets as many threads as it may run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sro_trainer.cores import available_cores

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({}, ALL, id="no-control-group"),
        pytest.param({"cpu.max": "max 100000\n"}, ALL, id="v2-unlimited"),
        pytest.param({"cpu.max": "100000 100000\n"}, 1, id="v2-one-core"),
        pytest.param({"cpu.max": "50000 100000\n"}, 1, id="v2-half-a-core"),
        pytest.param({"cpu.max": "99900000 100000\n"}, ALL, id="v2-more-than-there-are"),
        pytest.param({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, ALL, id="v1-unlimited"),
        pytest.param({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1, id="v1-one-core"),
    ],
)
def test_the_quota_bounds_the_cores(files: dict[str, str], cores: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert available_cores(tmp_path) == cores
