"""The programs a cluster consists of: built once from pinned Go modules, verified by checksum before each use."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sro_cluster.commands import run
from sro_cluster.locations import COMPONENTS, cache_root
from sro_cluster.locks import locked
from sro_cluster.toolchain import find_go

logger = logging.getLogger(__name__)

KUBERNETES_VERSION = "1.36.3"
_MAJOR, _MINOR, _ = KUBERNETES_VERSION.split(".")
_KUBERNETES_FLAGS = " ".join(
    f"-X {variable}={value}"
    for variable, value in (
        ("k8s.io/component-base/version.gitVersion", f"v{KUBERNETES_VERSION}"),
        ("k8s.io/component-base/version.gitMajor", _MAJOR),
        ("k8s.io/component-base/version.gitMinor", _MINOR),
        ("k8s.io/client-go/pkg/version.gitVersion", f"v{KUBERNETES_VERSION}"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One Go program to build."""

    name: str
    """Of the resulting file, and of its folder unless ``folder`` says another."""
    folder: str = ""
    """Of the Go module: below ``components/``, or absolute."""
    package: str = "."
    """What ``go build`` is given, seen from the folder."""
    linker_flags: str = ""
    links: tuple[str, ...] = ()
    """Further names, as symbolic links: the program looks at the name it is called by."""

    @property
    def source(self) -> Path:
        """The folder of the Go module."""
        return COMPONENTS / (self.folder or self.name)


ALL = (
    Component(
        name="sro-kube",
        folder="kubernetes",
        linker_flags=_KUBERNETES_FLAGS,
        links=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    ),
    Component(name="etcd"),
    Component(name="coredns"),
    Component(name="helm", package="helm.sh/helm/v4/cmd/helm"),
)


def binary_folder() -> Path:
    """The folder of all programs, of one Kubernetes version; fit for PATH."""
    return cache_root() / "bin" / KUBERNETES_VERSION


def ensure_binaries(components: tuple[Component, ...] = ALL) -> Path:
    """Builds what is absent, damaged or out of date, and returns the folder.

    Raises:
        ClusterError: no Go toolchain, or a build failed.
    """
    folder = binary_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        for interrupted in folder.glob(".build-*"):
            shutil.rmtree(interrupted)
        wanted = [component for component in components if not _is_intact(folder, component)]
        if wanted:
            with _compiler_cache(folder) as cache:
                for component in wanted:
                    _build(folder, component, cache)
    return folder


@contextmanager
def _compiler_cache(folder: Path) -> Iterator[Path]:
    """``$GOCACHE`` where that is set, to be kept; else one for this build only, for it takes 5 GB and is hardly used again."""
    own = os.environ.get("GOCACHE")
    if own:
        yield Path(own)
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
        yield Path(scratch)


def _is_intact(folder: Path, component: Component) -> bool:
    built = folder / component.name
    expected = {"source": _source_key(component), "sha256": _sha256(built) if built.exists() else ""}
    links_lead_there = all((folder / link).resolve() == built.resolve() for link in component.links)
    return _read_manifest(folder).get(component.name) == expected and links_lead_there


def _build(folder: Path, component: Component, compiler_cache: Path) -> None:
    logger.info("building", extra={"component": component.name})
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
        output = Path(scratch) / component.name
        flags = f"-s -w {component.linker_flags}".strip()
        run(
            [find_go(), "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", output, component.package],
            cwd=component.source,
            env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOCACHE": str(compiler_cache)},
        )
        entry = {"source": _source_key(component), "sha256": _sha256(output)}
        output.replace(folder / component.name)
    for link in component.links:
        (folder / link).unlink(missing_ok=True)
        (folder / link).symlink_to(component.name)
    _write_manifest(folder, {**_read_manifest(folder), component.name: entry})


def _source_key(component: Component) -> str:
    """A digest of everything in the repository that decides how the program comes out."""
    digest = hashlib.sha256(f"{component.package}\n{component.linker_flags}\n".encode())
    for path in sorted(component.source.iterdir()):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / "manifest.json"
    if not path.exists():
        return {}
    try:
        manifest: dict[str, dict[str, str]] = json.loads(path.read_text())
    except ValueError:
        return {}  # damaged: as good as absent, everything is built anew
    return manifest


def _write_manifest(folder: Path, manifest: dict[str, dict[str, str]]) -> None:
    temporary = folder / ".manifest.tmp"
    temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    temporary.replace(folder / "manifest.json")
