"""Runs other programs to their end."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sro_cluster.errors import ClusterError

_SHOWN_LINES = 6


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Runs a program and returns what it wrote to standard output.

    Raises:
        ClusterError: it is not there, or it ended with another code than 0; carries its last lines.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed") from error
    if done.returncode != 0:
        last = " | ".join((done.stderr or done.stdout).strip().splitlines()[-_SHOWN_LINES:])
        raise ClusterError(f"{' '.join(words[:4])}: ended with {done.returncode}: {last}")
    return done.stdout


def missing(programs: Sequence[str]) -> list[str]:
    """Those of the named programs that are not on PATH."""
    return [name for name in programs if shutil.which(name) is None]
