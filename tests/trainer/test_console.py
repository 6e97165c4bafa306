"""What a log line looks like, to a person and to a program."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest

from sro_trainer import console


def logged(formatter: logging.Formatter, **extra: object) -> str:
    record = logging.getLogger("sro").makeRecord(
        "sro.loop", logging.INFO, "f", 1, "step finished", (), None, extra=dict(extra)
    )
    return formatter.format(record)


def test_a_program_gets_one_json_object_with_the_fields() -> None:
    entry = json.loads(logged(console.JsonFormatter(), step=3, loss=0.5))
    assert {key: entry[key] for key in ("level", "logger", "message", "step", "loss")} == {
        "level": "INFO",
        "logger": "sro.loop",
        "message": "step finished",
        "step": 3,
        "loss": 0.5,
    }
    assert entry["time"].endswith("+00:00")


def test_a_person_gets_the_message_and_short_numbers() -> None:
    assert logged(console.HumanFormatter(), step=3, loss=0.123456) == "step finished  step=3 loss=0.1235"


def test_a_message_without_fields_stands_alone() -> None:
    assert logged(console.HumanFormatter()) == "step finished"


def test_what_is_no_json_is_written_as_text() -> None:
    assert json.loads(logged(console.JsonFormatter(), where=io))["where"].startswith("<module")


def test_a_trace_is_part_of_the_entry() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        record = logging.LogRecord(
            "sro", logging.ERROR, "f", 1, "failed", (), (type(error), error, error.__traceback__)
        )
    assert "ValueError: broken" in json.loads(console.JsonFormatter().format(record))["trace"]


@pytest.fixture
def root_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.mark.usefixtures("root_restored")
def test_a_pipe_gets_json_lines() -> None:
    stream = io.StringIO()
    console.configure(stream=stream)
    logging.getLogger("sro_trainer.x").info("hello", extra={"n": 1})
    logging.getLogger("transformers").info("chatter")
    warnings.warn("is deprecated", FutureWarning, stacklevel=1)
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["hello"]


@pytest.mark.usefixtures("root_restored")
def test_a_terminal_gets_lines_for_a_person() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console.configure(stream=stream)
    logging.getLogger("sro_trainer.x").info("hello", extra={"n": 1})
    assert "hello  n=1" in re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
