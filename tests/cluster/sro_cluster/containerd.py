"""A containerd of our own: own configuration, socket and folders, beside one that the system may run."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sro_cluster.commands import run
from sro_cluster.errors import ClusterError
from sro_cluster.locations import cache_root
from sro_cluster.network import CNI_PLUGINS
from sro_cluster.processes import Processes

PAUSE_IMAGE = "docker.io/sro/pause:dev"
_NAMESPACE = "k8s.io"
_READY_SECONDS = 30.0
_LONGEST_SOCKET_PATH = 107
_NAME = "containerd"


class Containerd:
    """One containerd: images live in the cache and outlive it, everything else lies below ``directory``."""

    def __init__(self, directory: Path, processes: Processes) -> None:
        self.directory = directory
        self.socket = directory / "containerd.sock"
        self.cni_configuration = directory / "cni"
        self.runtime_root = directory / "runc"
        self._state = directory / "state"
        self._processes = processes

    def start(self) -> None:
        """Starts it, without any container that an earlier one may have left.

        Raises:
            ClusterError: the path of the socket is too long, or containerd did not come up.
        """
        if len(str(self.socket)) > _LONGEST_SOCKET_PATH:
            raise ClusterError(f"{self.socket}: longer than {_LONGEST_SOCKET_PATH} characters; choose another --dir")
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "config.toml"
        configuration.write_text(self._configuration())
        self._start(configuration)
        if self._containers():
            # The runtime remembers what it knew at its start; forgotten containers are forgotten by a new one only.
            self.remove_containers()
            self._processes.stop(_NAME)
            self._start(configuration)

    def stop(self) -> None:
        """Removes every container and stops containerd."""
        if _NAME in self._processes.names_alive():
            self.remove_containers()
        self._processes.stop(_NAME)

    def remove_containers(self) -> None:
        """Ends all tasks and removes all containers with their snapshots."""
        for task in self._tasks():
            self._remove(("tasks", "rm", "--force"), task, listed=self._tasks)
        for container in self._containers():
            self._remove(("containers", "rm"), container, listed=self._containers)

    def import_image(self, archive: Path) -> None:
        """Imports an image from a docker-archive tar."""
        self.ctr("images", "import", str(archive))

    def import_stream(self, write: Callable[[IO[bytes]], None]) -> None:
        """Imports an image from a tar of an OCI layout that ``write`` writes; known blobs may be absent from it.

        Raises:
            ClusterError: ``ctr`` refused it.
        """
        command = ["ctr", f"--address={self.socket}", f"--namespace={_NAMESPACE}", "images", "import", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as ctr:
            assert ctr.stdin
            assert ctr.stderr
            try:
                write(ctr.stdin)
                ctr.stdin.close()
            except BrokenPipeError:
                ctr.kill()  # it gave up before the end, and says why
            reason = ctr.stderr.read().decode(errors="replace").strip()
        if ctr.returncode != 0:
            raise ClusterError(f"ctr images import: ended with {ctr.returncode}: {reason}")

    def images(self) -> dict[str, str]:
        """The images by name, each with its digest."""
        rows = [line.split() for line in self.ctr("images", "ls").splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    def remove_replaced_images(self) -> None:
        """Removes images that lost their name to a newer one, and whatever only they held.

        The runtime gives each image its configuration's digest as a second name, and never takes it back.
        """
        images = self.images()
        named = {digest for name, digest in images.items() if not name.startswith("sha256:")}
        for name, digest in images.items():
            if digest not in named:
                self.ctr("images", "rm", "--sync", name)

    @contextmanager
    def held(self, reference: str | None) -> Iterator[None]:
        """Keeps what an image holds now while another image takes its name.

        Importing moves the name first and unpacks then; in between, the layers that both share belong to nobody, and a garbage
        collection at that moment takes them away under the unpacking.
        """
        if reference is None:
            yield
            return
        keeper = f"{reference}-replaced"
        self.ctr("images", "tag", "--force", reference, keeper)
        try:
            yield
        finally:
            self.ctr("images", "rm", keeper)

    def known_blobs(self) -> set[str]:
        """The digests of all layers, configurations and manifests in the content store."""
        return set(self.ctr("content", "ls", "--quiet").split())

    def ctr(self, *arguments: str) -> str:
        """Runs ``ctr`` against this containerd."""
        return run(["ctr", f"--address={self.socket}", f"--namespace={_NAMESPACE}", *arguments])

    def _start(self, configuration: Path) -> None:
        self._processes.start(_NAME, ["containerd", f"--config={configuration}", "--log-level=info"])
        self._processes.wait_until(_NAME, self._answers, seconds=_READY_SECONDS)

    def _answers(self) -> bool:
        try:
            self.ctr("version")
        except ClusterError:
            return False
        return True

    def _remove(self, command: tuple[str, ...], name: str, *, listed: Callable[[], list[str]]) -> None:
        """Removes what the runtime may be about to remove itself, when its program has just ended."""
        try:
            self.ctr(*command, name)
        except ClusterError:
            if name in listed():
                raise

    def _tasks(self) -> list[str]:
        return self.ctr("tasks", "ls", "--quiet").split()

    def _containers(self) -> list[str]:
        return self.ctr("containers", "ls", "--quiet").split()

    def _configuration(self) -> str:
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        values = {
            "root": cache_root() / "containerd",
            "state": self._state,
            "socket": self.socket,
            "pause": PAUSE_IMAGE,
            "runc": self.runtime_root,
            "bin": CNI_PLUGINS,
            "conf": self.cni_configuration,
        }
        quoted = {name: json.dumps(str(value)) for name, value in values.items()}
        return f"""version = 2
root = {quoted["root"]}
state = {quoted["state"]}

[grpc]
  address = {quoted["socket"]}

[{cri}]
  sandbox_image = {quoted["pause"]}
  # Where CAP_SYS_RESOURCE is missing, runc cannot lower a score and every sandbox would die.
  restrict_oom_score_adj = true
  # Beside the other mounts, so that unmounting one folder removes them all.
  netns_mounts_under_state_dir = true
  [{cri}.cni]
    bin_dir = {quoted["bin"]}
    conf_dir = {quoted["conf"]}
  [{cri}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [{cri}.containerd.runtimes.runc.options]
      Root = {quoted["runc"]}
"""
