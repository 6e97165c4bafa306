"""`sro status` and `sro logs` against a real API server, and the operator's own end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before its import, or its assertions would fail without a word.
pytest.register_assert_rewrite("operator_stage")

from operator_stage import OperatorProcess, Stage, wait_until  # noqa: E402

pytestmark = pytest.mark.e2e
pytest_plugins = ["operator_stage"]


def sro(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("sro")
    environment = {**os.environ, "KUBECONFIG": str(stage.kubectl.kubeconfig)}
    return subprocess.run([str(program), *arguments], check=False, capture_output=True, text=True, env=environment)


def test_status_prints_a_page(stage: Stage) -> None:
    stage.submit()
    stage.run_pods(*stage.pods(1))
    stage.wait_phase("Running")
    stage.report(step=25, checkpoint=20)
    page = sro(stage, "status", "demo", "-n", stage.namespace)
    assert (page.returncode, page.stderr) == (0, "")
    assert "Phase:     Running, all 2 pods of attempt 1 started" in page.stdout
    assert "[######------------------]  25 %" in page.stdout
    assert "checkpoint at step 20" in page.stdout


@pytest.mark.parametrize("command", ["status", "logs"])
def test_a_job_that_is_not_there_is_named_in_one_line(stage: Stage, command: str) -> None:
    answer = sro(stage, command, "nobody", "-n", stage.namespace)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"sro: there is no SROJob 'nobody' in namespace '{stage.namespace}'\n"


def test_the_current_contexts_namespace_is_the_default(stage: Stage) -> None:
    answer = sro(stage, "status", "nobody")
    assert "in namespace 'default'" in answer.stderr


def test_logs_say_which_pods_there_are(stage: Stage) -> None:
    stage.submit()
    stage.pods(1)
    answer = sro(stage, "logs", "demo", "-n", stage.namespace, "--attempt", "4")
    assert answer.returncode == 1
    assert "no pod of attempt 4 with index 0; there are: attempt 1 index 0, attempt 1 index 1" in answer.stderr


def test_without_a_cluster_one_line_says_so(stage: Stage, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("sro")
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "none")}
    answer = subprocess.run([str(program), "status", "x"], check=False, capture_output=True, text=True, env=environment)
    assert answer.returncode == 1
    assert answer.stderr == f"sro: no cluster: there is no kubeconfig at {tmp_path / 'none'}; set KUBECONFIG\n"


def test_sigterm_ends_the_operator_cleanly_and_jobs_wait_for_the_next(stage: Stage, operator: OperatorProcess) -> None:
    assert operator.stop() == 0
    stage.submit()
    operator.start()
    stage.wait_phase("Queued")


def test_a_setting_that_cannot_be_used_is_named() -> None:
    environment = {**os.environ, "SRO_RESYNC_SECONDS": "soon"}
    answer = subprocess.run(
        [sys.executable, "-m", "sro_operator"], check=False, capture_output=True, text=True, env=environment
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("SRO_RESYNC_SECONDS: 'soon': ")


def test_kopf_can_run_the_handlers_by_itself(stage: Stage, operator: OperatorProcess, tmp_path: Path) -> None:
    operator.stop()
    log = tmp_path / "kopf.log"
    environment = {
        **os.environ,
        "KUBECONFIG": str(operator.kubeconfig),
        "SRO_HTTP_HOST": "127.0.0.1",
        "SRO_HTTP_PORT": "0",
    }
    command = [str(Path(sys.executable).with_name("kopf")), "run", "-A", "-m", "sro_operator.handlers"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, env=environment)
    stage.submit()
    wait_until(lambda: stage.status().get("phase") == "Queued", "the job is queued", log.read_text)
    process.terminate()
    process.wait(timeout=30)
    operator.start()
