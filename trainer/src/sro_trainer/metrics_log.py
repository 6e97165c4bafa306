"""`metrics.jsonl`: one JSON object per step, on disk before the next step begins."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType


class MetricsLog:
    """Appends rows to a file and takes back those of steps that are done again."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row; it must have a `step` if `resume_after` is to know it. a number that is not finite is written as null."""
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        self._file.write(json.dumps(finite) + "\n")
        self._file.flush()

    def resume_after(self, step: int, *, stage: str = "Training") -> int:
        """Drop the rows that a run resumed after `step` will write again, and a half-written last line.

        Args:
            step: the last step of the checkpoint.
            stage: of the checkpoint; rows of the warm start stand once the game has begun.

        Returns:
            How many rows were dropped.
        """
        self._file.close()
        lines = self._path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _stands(line, step, stage)]
        staging = self._path.with_suffix(".tmp")
        staging.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        os.replace(staging, self._path)
        self._file = self._path.open("a", encoding="utf-8")
        return len(lines) - len(kept)

    def close(self) -> None:
        """Flush and close."""
        self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_ORDER = {"WarmStart": 0, "Training": 1}


def _stands(line: str, step: int, stage: str) -> bool:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return False
    order = _ORDER.get(row.get("stage", "Training"), 1)
    return order < _ORDER[stage] or (order == _ORDER[stage] and int(row.get("step", 0)) <= step)
