"""`python -m sro_trainer --config run.json`: train what the configuration says, on this node's share of processes.

SIGTERM is answered by `__main__.py` until the launcher or the worker takes it over.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from pathlib import Path

from sro_api.exit_codes import ExitCode
from sro_api.run_config import RunConfig
from sro_trainer.config import load_config
from sro_trainer.console import configure
from sro_trainer.errors import TrainerError
from sro_trainer.launch import launch
from sro_trainer.termination import StopRequest, last_word, termination_log


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit code is one of `sro_api.exit_codes`."""
    arguments = _arguments(argv)
    try:
        config = load_config(arguments.config)
    except TrainerError as error:
        return _refuse(error)
    if arguments.worker:
        return _work(config)
    configure()
    return launch(config, arguments.config, os.environ)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sro_trainer", description="Train one attempt of an SROJob.")
    parser.add_argument(
        "--config", type=Path, default=Path("/etc/sro/run.json"), metavar="FILE", help="the run configuration"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _work(config: RunConfig) -> int:
    stop = StopRequest()
    # Before the slow imports: a pod that is deleted while it starts must not die of the default handler.
    stop.install()
    from sro_trainer.worker import work

    try:
        word = work(config, stop, os.environ)
    except TrainerError as error:
        logging.getLogger(__name__).error("run ended", extra={"reason": error.reason, "error": str(error)})
        _leave_word(last_word(error.reason, str(error)))
        return int(error.exit_code)
    except ConnectionError as error:
        logging.getLogger(__name__).error("source unreachable", extra={"error": str(error)})
        _leave_word(last_word("SourceUnreachable", str(error)))
        return ExitCode.UNREACHABLE
    except BaseException as error:
        # Told and passed on: what nobody foresaw must not be swallowed.
        _leave_word(last_word(type(error).__name__, "".join(traceback.format_exception_only(error))))
        raise
    if word is not None:
        _leave_word(word)
    return ExitCode.COMPLETE


def _leave_word(word: str) -> None:
    path = os.environ.get("SRO_LAST_WORD")
    if path is not None:
        Path(path).write_text(word, encoding="utf-8")


def _refuse(error: TrainerError) -> int:
    print(f"sro-trainer: {error}", file=sys.stderr)
    log = termination_log(os.environ)
    if log is not None:
        log.write_text(last_word(error.reason, str(error)), encoding="utf-8")
    return int(error.exit_code)
