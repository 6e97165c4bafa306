"""The node's agent: what it tells its processes, and which end it reports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sro_api.exit_codes import ExitCode
from sro_trainer.errors import RendezvousError
from sro_trainer.launch import Gang, Node, await_rank_zero, most_telling
from sro_trainer.termination import MESSAGE_LIMIT_BYTES, last_word, termination_log
from sro_trainer.testing import tiny_job


def node_of(tmp_path: Path, environment: dict[str, str], **compute: int) -> Node:
    # Sizes that every world divides.
    return Node.from_environment(
        tiny_job(tmp_path, compute=compute, optimization={"batchSize": 24}, leader={"warmStart": {"batchSize": 24}}),
        environment,
    )


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_ranks_run_on_over_the_nodes(tmp_path: Path) -> None:
    node = node_of(tmp_path, {"JOB_COMPLETION_INDEX": "2", "SRO_MASTER_ADDR": "job-0.job"}, nodes=3, processesPerNode=2)
    told = node.worker_environment(1, {"HOME": "/root"}, tmp_path)
    expected = {
        "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "job-0.job",
        "MASTER_PORT": "29500", "HOME": "/root",
    }  # fmt: skip
    assert {key: told[key] for key in expected} == expected
    assert "SRO_STORE" not in told


def test_one_node_opens_no_port(tmp_path: Path) -> None:
    told = node_of(tmp_path, {}, processesPerNode=2).worker_environment(0, {}, tmp_path)
    assert told["SRO_STORE"] == str(tmp_path / "store")
    assert told["MASTER_ADDR"] == "127.0.0.1"


def test_threads_are_shared_out_unless_the_user_says(tmp_path: Path) -> None:
    node = node_of(tmp_path, {})
    assert int(node.worker_environment(0, {}, tmp_path)["OMP_NUM_THREADS"]) >= 1
    assert node.worker_environment(0, {"OMP_NUM_THREADS": "7"}, tmp_path)["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ([(1, 0), (0, 0)], (0, 0)),
        ([(1, 1), (0, 66)], (0, 66)),
        ([(0, 75), (1, 64)], (1, 64)),
        ([(1, 137), (0, 1)], (1, 137)),
        ([(1, 1), (0, 73)], (0, 73)),
        ([(1, 74), (0, 137)], (0, 137)),
        ([(1, 74), (0, 0)], (1, 74)),
        ([(1, 1), (0, 76)], (0, 76)),
        ([(0, 0), (1, 3)], (1, 3)),
    ],
    ids=[
        "all well",
        "diverged",
        "configuration",
        "killed first",
        "full volume",
        "a peer's death",
        "a peer elsewhere",
        "asked to stop",
        "one of two",
    ],
)
def test_the_most_telling_end_is_reported(ended: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    assert most_telling(ended) == expected


def test_the_gang_ends_as_its_processes_do() -> None:
    assert Gang(python("pass"), [{}, {}]).wait() == (0, 0)
    assert Gang(python("import os; raise SystemExit(int(os.environ['C']))"), [{"C": "0"}, {"C": "66"}]).wait() == (
        1,
        66,
    )


def test_a_death_by_signal_is_told_as_the_shell_tells_it() -> None:
    assert Gang(python("import os; os.kill(os.getpid(), 9)"), [{}]).wait() == (0, 137)


def test_the_others_are_ended_when_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sro_trainer.launch.GRACE_SECONDS", 0.1)
    waits = "import os, threading\nif os.environ['R'] == '0': raise SystemExit(65)\nthreading.Event().wait()"
    assert Gang(python(waits), [{"R": "0"}, {"R": "1"}]).wait() == (0, 65)


def test_rank_zero_waits_for_nobody(tmp_path: Path) -> None:
    await_rank_zero(node_of(tmp_path, {}, nodes=1), 0.0)


def test_another_node_waits_until_rank_zero_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        node = Node(rank=1, nodes=2, processes=1, master_address="127.0.0.1", master_port=int(port))
        await_rank_zero(node, 5.0)
    with pytest.raises(RendezvousError, match=rf"rank 0 at 127.0.0.1:{port} did not answer within 0 s"):
        await_rank_zero(node, 0.0)


def test_the_last_word_is_one_line_that_the_kubelet_keeps() -> None:
    word = last_word("BadData", "first line\nsecond line " + "é" * 5000)
    assert len(word.encode()) <= MESSAGE_LIMIT_BYTES
    assert json.loads(word)["reason"] == "BadData"
    assert json.loads(word)["message"].startswith("first line second line")


def test_the_termination_log_is_where_the_environment_says(tmp_path: Path) -> None:
    assert termination_log({"SRO_TERMINATION_LOG": str(tmp_path / "word")}) == tmp_path / "word"


@pytest.mark.parametrize("is_first", [False, True], ids=["as any process", "as the first of its namespace"])
def test_a_pod_that_is_deleted_before_training_begins_ends_at_once(tmp_path: Path, is_first: bool) -> None:
    if is_first and os.geteuid() != 0:
        pytest.skip("not root: no process namespace can be made")
    # A configuration that never comes: opening the pipe waits until the trainer reads it, which is long before it has workers.
    config = tmp_path / "run.json"
    os.mkfifo(config)
    alone = ["unshare", "--pid", "--fork", "--kill-child"] if is_first else []
    process = subprocess.Popen([*alone, sys.executable, "-m", "sro_trainer", "--config", str(config)])
    try:
        with config.open("w"):
            (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split() or [
                str(process.pid)
            ]
            os.kill(int(child), signal.SIGTERM)
            assert process.wait(60) == ExitCode.TERMINATED
    finally:
        process.kill()
