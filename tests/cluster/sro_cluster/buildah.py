"""Images by ``buildah``, with a storage of its own below the cache; no registry is reached."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sro_cluster.commands import run
from sro_cluster.errors import ClusterError
from sro_cluster.locations import cache_root
from sro_cluster.locks import locked
from sro_cluster.storage import Storage

_CERTIFICATES = Path("/etc/ssl/certs")
_BUNDLE = _CERTIFICATES / "ca-certificates.crt"
_DISTRIBUTION = "bookworm"

BASE = "localhost/sro/python:bookworm"
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"


def images_root() -> Path:
    """Where everything about images is kept: storage, build context, exported layout."""
    return cache_root() / "images"


@contextmanager
def sole_use() -> Iterator[None]:
    """Keeps other builds out; removes what interrupted ones left, and in the end the images that nothing is named after."""
    with locked(images_root() / "lock"):
        _buildah("rm", "--all")
        yield
        _buildah("rmi", "--prune")


def ensure_base() -> None:
    """Makes the Debian base image from packages alone, unless it is there already."""
    if _buildah("images", "--quiet", "--filter", f"reference={BASE}").strip():
        return
    archive = images_root() / "base.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    run(["mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", _DISTRIBUTION, archive])
    container = _buildah("from", "scratch").strip()
    try:
        _buildah("add", container, str(archive), "/")
        _buildah("commit", "--disable-compression", container, BASE)
    finally:
        _buildah("rm", container)
        archive.unlink()


def build(image: str, *, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
    """Builds an image; each step that did not change comes from the storage.

    The host's certificates are mounted while steps run, so that package traffic may pass a proxy with an authority of
    its own; they are part of no layer.
    """
    given = {"BASE": BASE, "SSL_CERT_FILE": str(_BUNDLE), **arguments}
    words = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
    mounted = ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
    _buildah("bud", "--layers", "--tag", image, "--file", str(dockerfile), *mounted, *words, str(context))


def storage() -> Storage:
    """Where the images lie."""
    return Storage(_storage_root())


def _storage_root() -> Path:
    return images_root() / "storage"


def _buildah(*arguments: str) -> str:
    if os.geteuid() != 0:
        raise ClusterError("images are built as root only (buildah with chroot isolation)")
    root = images_root()
    temporary = root / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    store = [f"--root={_storage_root()}", f"--runroot={root / 'run'}", "--storage-driver=overlay"]
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(temporary)}
    return run(["buildah", *store, *arguments], env=environment)
