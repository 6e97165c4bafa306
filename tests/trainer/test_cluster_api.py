"""The PATCH that a pod sends, seen by a real TLS server on loopback."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sro_api.run_config import RunConfig
from sro_api.status import ProgressStatus
from sro_trainer.cluster_api import ApiServer, apply_progress


@dataclass
class Seen:
    """Requests as the server got them, and what it answers."""

    status: int = 200
    answer: bytes = b"{}"
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


def certificate(folder: Path) -> Path:
    """A self-signed pair for 127.0.0.1, in one file that is its own authority."""
    pair = folder / "pair.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", pair, "-out", folder / "ca.crt"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    pair.write_text(pair.read_text() + (folder / "ca.crt").read_text())
    return pair


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service account's folder: ca.crt and token."""
    folder = tmp_path_factory.mktemp("account")
    certificate(folder)
    (folder / "token").write_text("secret-1\n")
    return folder


@pytest.fixture
def served(account: Path) -> Iterator[tuple[ApiServer, Seen]]:
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.requests.append((self.command, self.path, dict(self.headers), body))
            self.send_response(seen.status)
            self.send_header("Content-Length", str(len(seen.answer)))
            self.end_headers()
            self.wfile.write(seen.answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(account / "pair.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield ApiServer(host="127.0.0.1", port=server.server_port, account=account), seen
    server.shutdown()
    thread.join()
    server.server_close()


CONFIG = RunConfig.model_validate(
    {
        "name": "quickstart",
        "namespace": "team-a",
        "uid": "1234",
        "spec": {
            "leader": {"model": "file:m"},
            "data": {"toxic": {"uri": "file:t.txt"}, "neutral": {"uri": "file:n.txt"}},
            "output": {"uri": "file:out"},
        },
        "inputs": "/in",
        "outputs": "/out",
    }
)
PROGRESS = ProgressStatus(
    attempt=2,
    stage="Training",
    step=7,
    total_steps=50,
    percent=14,
    pass_rate=0.5,
    loss=0.6474805176258087,
    updated_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_only_the_progress_of_the_own_job_is_applied(served: tuple[ApiServer, Seen]) -> None:
    server, seen = served
    apply_progress(server, CONFIG, PROGRESS)
    method, path, headers, body = seen.requests[0]
    assert method == "PATCH"
    assert (
        path
        == "/apis/sro.dev/v1alpha1/namespaces/team-a/srojobs/quickstart/status?fieldManager=sro-reporter&force=true"
    )
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert headers["Authorization"] == "Bearer secret-1"
    assert json.loads(body) == {
        "apiVersion": "sro.dev/v1alpha1",
        "kind": "SROJob",
        "metadata": {"name": "quickstart", "namespace": "team-a", "uid": "1234"},
        "status": {
            "progress": {
                "attempt": 2,
                "stage": "Training",
                "step": 7,
                "totalSteps": 50,
                "percent": 14,
                "loss": 0.6475,
                "passRate": 0.5,
                "updatedAt": "2026-01-01T00:00:00Z",
                "history": [],
            }
        },
    }


def test_a_renewed_token_is_used_at_once(served: tuple[ApiServer, Seen], account: Path) -> None:
    server, seen = served
    apply_progress(server, CONFIG, PROGRESS)
    (account / "token").write_text("secret-2")
    apply_progress(server, CONFIG, PROGRESS)
    assert [request[2]["Authorization"] for request in seen.requests][1] == "Bearer secret-2"


def test_a_refusal_says_why(served: tuple[ApiServer, Seen]) -> None:
    server, seen = served
    seen.status, seen.answer = 403, json.dumps({"message": "srojobs quickstart is forbidden"}).encode()
    with pytest.raises(PermissionError, match="403 Forbidden: srojobs quickstart is forbidden"):
        apply_progress(server, CONFIG, PROGRESS)


def test_a_server_of_another_authority_is_not_told_the_token(served: tuple[ApiServer, Seen], tmp_path: Path) -> None:
    server, seen = served
    certificate(tmp_path)
    (tmp_path / "token").write_text("secret")
    stranger = ApiServer(host=server.host, port=server.port, account=tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        apply_progress(stranger, CONFIG, PROGRESS)
    assert seen.requests == []


def test_missing_account_files_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        apply_progress(ApiServer(host="127.0.0.1", port=1, account=tmp_path), CONFIG, PROGRESS)
