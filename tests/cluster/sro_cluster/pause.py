"""The pause image, made by hand: one static program that holds a pod's namespaces and reaps its orphans."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from sro_cluster.commands import run

_SOURCE = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }

int main(void) {
  signal(SIGINT, stop);
  signal(SIGTERM, stop);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


def write_pause_archive(folder: Path, image: str) -> Path:
    """Compiles the program and writes the image as a docker-archive tar; returns the tar's path."""
    program = folder / "pause"
    run(["gcc", "-static", "-Os", "-x", "c", "-", "-o", program], stdin=_SOURCE)
    layer = _tar({"pause": program.read_bytes()}, mode=0o755)
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    parts = {"manifest.json": manifest, "config.json": configuration}
    archive = folder / "pause.tar"
    archive.write_bytes(_tar({**{name: json.dumps(part).encode() for name, part in parts.items()}, "layer.tar": layer}))
    return archive


def _tar(files: dict[str, bytes], *, mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
