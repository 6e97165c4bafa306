"""What a run survives: `python benchmarks/resume/faults.py [--kills N] [--seed S] [--only FAULT ...]`.

A tiny leader is warm-started and plays. One run is left alone; the others are killed, cut, spoilt or moved to another number of
processes, and resumed until they end. A line says the fault, what was expected of it and what was seen; the exit code is 1 if a
line is not as expected. Processes are forked from this one, which has imported everything: an attempt costs seconds.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from safetensors.torch import load_file

from sro_api.exit_codes import ExitCode
from sro_api.run_config import RunConfig
from sro_trainer import entry, worker  # noqa: F401 - imported before any fork
from sro_trainer.testing import tiny_job

WARM_STEPS, STEPS = 6, 10
TIMES = ("samples_per_second", "seconds")
PATIENCE = 600.0
FAULTS = ("same", "kill", "cut", "bit", "manifest", "disk", "sigterm", "moved-2-1", "moved-1-2", "dead", "silent")
Interference = Callable[[list[int], Path], None]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One fault."""

    fault: str
    expected: str
    seen: str
    is_good: bool


def job(folder: Path, *, ranks: int = 1, checkpoints: Path | None = None) -> RunConfig:
    """The same run in any folder."""
    spec: dict[str, Any] = {
        "leader": {"warmStart": {"steps": WARM_STEPS}},
        "optimization": {"steps": STEPS, "checkpointEverySteps": 1, "keepCheckpoints": 3},
        "deepspeed": {"zeroStage": 2},
        "compute": {"processesPerNode": ranks},
    }
    if checkpoints is not None:
        spec["output"] = {"uri": "file:out", "checkpoints": f"file://{checkpoints}"}
    folder.mkdir(parents=True, exist_ok=True)
    return tiny_job(folder, **spec)


def attempt(
    config: RunConfig, folder: Path, *, interfere: Interference | None = None, settings: dict[str, str] | None = None,
    limit: int | None = None,
) -> list[int]:  # fmt: skip
    """Run the job's processes to their ends.

    Returns:
        Exit code of each rank, 128 + n for a death by signal n.
    """
    ranks = config.spec.compute.processes_per_node
    with tempfile.TemporaryDirectory() as scratch:
        environment = {
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "SRO_STORE": f"{scratch}/store",
            **(settings or {}),
        }
        children = [_forked(config, rank, environment, folder / f"log-{rank}", limit) for rank in range(ranks)]
        if interfere is not None:
            interfere(children, folder)
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _forked(config: RunConfig, rank: int, environment: dict[str, str], log: Path, limit: int | None) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        code = entry._work(config)
    finally:
        os._exit(code)


def when(rows: int, act: Interference, *, delay: float = 0.0) -> Interference:
    """Act once `rows` rows of metrics are there, or a child has ended."""

    def interfere(children: list[int], folder: Path) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(told(folder)) < rows and time.monotonic() < deadline and not _ended(children):
            time.sleep(0.005)
        time.sleep(delay)
        act(children, folder)

    return interfere


def _ended(children: list[int]) -> bool:
    return os.waitid(os.P_PID, children[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def send(number: signal.Signals, *, to: int | None = None) -> Interference:
    """A signal to one rank, or to all."""

    def act(children: list[int], _folder: Path) -> None:
        for child in children if to is None else [children[to]]:
            os.kill(child, number)

    return act


def told(folder: Path) -> list[dict[str, Any]]:
    """What a run has told of its steps."""
    path = folder / "out" / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = []
    for line in lines:
        try:
            rows.append({key: value for key, value in json.loads(line).items() if key not in TIMES})
        except json.JSONDecodeError:
            break
    return rows


def difference(whole: Path, other: Path) -> tuple[bool, float, float]:
    """Whether two runs are equal to the last bit, and the largest difference of their losses and of their weights."""
    ours, theirs = told(whole), told(other)
    weights, others = (load_file(folder / "out" / "model" / "model.safetensors") for folder in (whole, other))
    loss = max((abs(a["loss"] - b["loss"]) for a, b in zip(ours, theirs, strict=False)), default=float("inf"))
    weight = max(float((value - others[name]).abs().max()) for name, value in weights.items())
    return ours == theirs and weight == 0.0, loss if len(ours) == len(theirs) else float("inf"), weight


def equal_line(fault: str, whole: Path, other: Path, note: str = "", *, is_good: bool = True) -> Line:
    """That a run ended as if nothing had happened."""
    same, loss, weight = difference(whole, other)
    seen = f"loss {loss:g}, weights {weight:g} apart{note}"
    return Line(fault=fault, expected="equal to the last bit", seen=seen, is_good=same and is_good)


def kills(whole: Path, folder: Path, count: int, seed: int) -> Line:
    """Kill at random points of one run, wherever it has got to, and let it end."""
    generator, config, points = random.Random(seed), job(folder), []
    while len(points) < count:
        done = len(told(folder))
        ahead = min(done + generator.randint(0, 1), WARM_STEPS + STEPS - 1)
        attempt(config, folder, interfere=when(ahead, send(signal.SIGKILL), delay=generator.uniform(0.0, 0.3)))
        points.append(len(told(folder)))
        if (folder / "out" / "report.json").exists():
            # It got to its end: begin another, so that every kill hits a run.
            shutil.rmtree(folder / "out")
    codes = attempt(config, folder)
    return equal_line(f"kill -9 at {count} random points (rows told: {points})", whole, folder, f", exit {codes}")


def spoilt(name: str, whole: Path, folder: Path, spoil: Callable[[Path], object]) -> Line:
    """Kill a run, spoil its newest checkpoint, resume."""
    config = job(folder)
    attempt(config, folder, interfere=when(WARM_STEPS + 5, send(signal.SIGKILL)))
    newest = sorted((folder / "out" / "checkpoints").glob("b-training-*"))[-1]
    spoil(newest)
    attempt(config, folder)
    says = f"{newest.name}" in (folder / "log-0").read_text() and "passed over" in (folder / "log-0").read_text()
    return equal_line(
        f"newest checkpoint: {name}", whole, folder, ", said so" if says else ", said nothing", is_good=says
    )


def cut_short(checkpoint: Path) -> None:
    """Half of a file."""
    file = next(checkpoint.glob("trained-*"))
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(checkpoint: Path) -> None:
    """One bit."""
    file = next(checkpoint.glob("trained-*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def full_disk(whole: Path, folder: Path) -> Line:
    """A volume that fills up before the run, is enlarged, and takes the rest. Without the right to mount, a limit on files."""
    newest = sorted((whole / "out" / "checkpoints").glob("b-training-*"))[-1]
    one = sum(path.stat().st_size for path in newest.iterdir())
    # Three are kept, and the next is whole before the oldest goes: there is room for two and a half.
    kilobytes = one * 5 // 2 // 1024
    volume = folder / "volume"
    volume.mkdir(parents=True)
    config = job(folder, checkpoints=volume / "checkpoints")
    mounted = os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "sro-test", str(volume)], check=False, capture_output=True
    ).returncode  # fmt: skip
    try:
        first = attempt(config, folder, limit=None if mounted else one // 2)
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=256m", str(volume)], check=True)
        left = sorted(path.name for path in (volume / "checkpoints").iterdir())
        attempt(config, folder)
        good = first == [ExitCode.NO_SPACE] and not any(name.startswith(".") for name in left)
        how = f"tmpfs of {kilobytes} KiB" if mounted else "RLIMIT_FSIZE"
        return equal_line(f"full disk ({how})", whole, folder, f", exit {first}, kept {len(left)}", is_good=good)
    finally:
        if mounted:
            subprocess.run(["umount", str(volume)], check=True)


def stopped(whole: Path, folder: Path) -> Line:
    """SIGTERM, then on."""
    config = job(folder)
    codes = attempt(config, folder, interfere=when(WARM_STEPS + 3, send(signal.SIGTERM)))
    attempt(config, folder)
    return equal_line("SIGTERM", whole, folder, f", exit {codes}", is_good=codes == [ExitCode.TERMINATED])


def moved(whole: Path, folder: Path, first: int, then: int) -> Line:
    """Another number of processes from the middle on."""
    attempt(job(folder, ranks=first), folder, interfere=when(WARM_STEPS + 4, send(signal.SIGKILL)))
    codes = attempt(job(folder, ranks=then), folder)
    _, loss, weight = difference(whole, folder)
    outcomes = [row.get("outcomes") for row in told(folder)] == [row.get("outcomes") for row in told(whole)]
    seen = f"loss {loss:g}, weights {weight:g} apart, verdicts {'equal' if outcomes else 'not equal'}, exit {codes}"
    return Line(
        fault=f"{first} processes, then {then}", expected="loss within 1e-3, same verdicts", seen=seen,
        is_good=loss < 1e-3 and outcomes,
    )  # fmt: skip


def lost(folder: Path, number: signal.Signals, settings: dict[str, str]) -> Line:
    """One of two ranks dies or falls silent; the other must not wait for ever, and says what happened."""
    config, moment = job(folder, ranks=2), 0.0

    def act(children: list[int], _folder: Path) -> None:
        nonlocal moment
        os.kill(children[1], number)
        moment = time.monotonic()
        while not _ended(children) and time.monotonic() < moment + PATIENCE:
            time.sleep(0.05)
        moment = time.monotonic() - moment
        os.kill(children[1], signal.SIGKILL)

    codes = attempt(config, folder, interfere=when(WARM_STEPS + 3, act), settings=settings)
    return Line(
        fault=f"one of two ranks: {number.name}", expected=f"exit {int(ExitCode.PEER_LOST)} within 60 s",
        seen=f"exit {codes[0]} after {moment:.1f} s", is_good=codes[0] == ExitCode.PEER_LOST and moment < 60,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(FAULTS), choices=FAULTS, help="these faults alone")
    given = parser.parse_args()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        whole = base / "whole"
        assert attempt(job(whole), whole) == [0], (whole / "log-0").read_text()
        faults: dict[str, Callable[[Path], Line]] = {
            "same": lambda folder: (
                attempt(job(folder), folder),
                equal_line("none: the same run again", whole, folder),
            )[1],
            "kill": lambda folder: kills(whole, folder, given.kills, given.seed),
            "cut": lambda folder: spoilt("cut short", whole, folder, cut_short),
            "bit": lambda folder: spoilt("one bit flipped", whole, folder, flip_a_bit),
            "manifest": lambda folder: spoilt(
                "half a manifest", whole, folder, lambda newest: os.truncate(newest / "manifest.json", 100)
            ),
            "disk": lambda folder: full_disk(whole, folder),
            "sigterm": lambda folder: stopped(whole, folder),
            "moved-2-1": lambda folder: moved(whole, folder, 2, 1),
            "moved-1-2": lambda folder: moved(whole, folder, 1, 2),
            "dead": lambda folder: lost(folder, signal.SIGKILL, {}),
            "silent": lambda folder: lost(folder, signal.SIGSTOP, {"SRO_COLLECTIVE_SECONDS": "5"}),
        }
        for name, fault in faults.items():
            if name in given.only:
                lines.append(fault(base / name))
                line = lines[-1]
                print(
                    f"{'ok ' if line.is_good else 'BAD'}  {line.fault}\n     expected: {line.expected}; seen: {line.seen}",
                    flush=True,
                )
    good = sum(line.is_good for line in lines)
    print(f"{good} of {len(lines)} as expected; {WARM_STEPS} steps of warm start and {STEPS} of the game each")
    sys.exit(0 if good == len(lines) else 1)


if __name__ == "__main__":
    main()
