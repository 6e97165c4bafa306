"""Structured logs: lines for a person on a terminal, one JSON object a line everywhere else."""

from __future__ import annotations

import functools
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.logging import RichHandler

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


@functools.cache
def terminal() -> Console:
    """Standard error as a terminal. Log lines and the progress bar share it: so lines go above the bar, not through it."""
    return Console(stderr=True)


def configure(*, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Configure logging for this process, once, in its entry point.

    Args:
        level: the least severe level that is shown.
        stream: where lines go; standard error if None.
    """
    target = sys.stderr if stream is None else stream
    handler: logging.Handler
    if target.isatty():
        handler = RichHandler(
            console=terminal() if stream is None else Console(file=stream), show_path=False, markup=False
        )
        handler.setFormatter(HumanFormatter())
    else:
        handler = logging.StreamHandler(target)
        handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Python warnings of libraries are about their own future; with a level below INFO they are lines like any other.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR if level >= logging.INFO else logging.WARNING)
    # Libraries' own chatter: their warnings are wanted, their progress is not.
    for name in ("httpx", "transformers", "deepspeed", "DeepSpeed", "torch", "fsspec", "urllib3", "filelock"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, the extra fields, and the trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {key: value for key, value in extra_of(record).items() if key not in entry}
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class HumanFormatter(logging.Formatter):
    """The message and its fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the trace where there is one."""
        fields = " ".join(f"{key}={_short(value)}" for key, value in extra_of(record).items())
        line = f"{record.getMessage()}  {fields}" if fields else record.getMessage()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def extra_of(record: logging.LogRecord) -> dict[str, object]:
    """What the caller gave as `extra`."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
