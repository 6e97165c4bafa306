"""The API server out of reach: jobs go on, and so does the operator, once it is back."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before its import, or its assertions would fail without a word.
pytest.register_assert_rewrite("operator_stage")

from operator_stage import OperatorProcess, Stage, wait_until  # noqa: E402
from sro_cluster.controlplane import ControlPlane, free_ports  # noqa: E402

pytestmark = pytest.mark.e2e
pytest_plugins = ["operator_stage"]


class Wire:
    """A TCP forwarder to the API server that can be cut and mended."""

    def __init__(self, target: int) -> None:
        self.port = free_ports(1)[0]
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.mend()

    def mend(self) -> None:
        """Let connections through."""
        self._do(self._listen())

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._do(self._break())

    def _do(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def _break(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._open |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
def wire(plane: ControlPlane) -> Wire:
    return Wire(int(plane.server.rsplit(":", 1)[1]))


@pytest.fixture
def wired(operator: OperatorProcess, plane: ControlPlane, wire: Wire) -> Iterator[OperatorProcess]:
    """An operator that reaches the API server by the wire, in place of the other."""
    operator.stop()
    document = json.loads(operator.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
    kubeconfig = plane.directory / f"wire-{wire.port}.kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(document))
    with OperatorProcess(kubeconfig=kubeconfig, log=plane.directory / f"wire-{wire.port}.log") as process:
        yield process
    operator.start()


def test_what_happened_during_an_outage_is_made_good_after_it(stage: Stage, wired: OperatorProcess, wire: Wire) -> None:
    stage.submit()
    stage.submit("leaving")
    first, second = stage.pods(1)
    stage.run_pods(first, second)
    stage.wait_phase("Running")
    stage.wait_phase("Queued", "leaving")
    wire.cut()
    stage.end_pod(second, 137, "killed while nobody could look")
    stage.kubectl("delete", "srojob", "leaving", "-n", stage.namespace)
    stage.submit("arriving")
    wait_until(lambda: any(line["message"] == "resync failed" for line in wired.lines()), "the operator noticed")
    assert wired.process is not None
    assert wired.process.poll() is None
    assert stage.status("arriving") == {}
    wire.mend()
    stage.run_pods(*stage.pods(2))
    status = stage.wait_phase("Running", attempt=2)
    assert [attempt["number"] for attempt in status["attempts"]] == [1, 2]
    assert status["attempts"][0]["exits"][0]["message"] == "killed while nobody could look"
    stage.wait_phase("Queued", "arriving")
    wait_until(lambda: wired.page("/readyz")[0] == 200, "the operator is ready again", lambda: wired.page("/readyz")[1])
    jobs = stage.kubectl.get("srojobs", "-A")["items"]
    queued = sum(job["status"]["phase"] == "Queued" for job in jobs)
    assert f'sro_jobs{{phase="Queued"}} {queued}.0' in wired.page("/metrics")[1]
