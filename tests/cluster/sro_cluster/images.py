"""The images that pods run: built by buildah, handed to the node's containerd layer by layer."""

import hashlib
import json
import logging
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from sro_cluster import buildah
from sro_cluster.claim import Claim, is_taken, noted_directory
from sro_cluster.containerd import Containerd
from sro_cluster.locations import REPOSITORY
from sro_cluster.node import remove_last_node
from sro_cluster.processes import Processes
from sro_cluster.storage import Storage, StoredImage
from sro_cluster.wheels import prepare_context

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of ours."""

    name: str
    folder: str
    """Of its Dockerfile, in the repository."""
    distributions: tuple[str, ...]
    """Our wheels in it."""
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """What a pod's ``image`` says."""
        return f"docker.io/sro/{self.name}:dev"


PYTHON_IMAGE = "docker.io/sro/python:dev"
"""The base of the others: Debian with Python and nothing else."""

OPERATOR = Image(name="operator", folder="operator", distributions=("sro_api", "sro_operator"))
TRAINER = Image(
    name="trainer",
    folder="trainer",
    distributions=("sro_api", "sro_screener", "sro_trainer"),
    # No test here has a GPU, and none may ask a registry of models.
    arguments={"CPU_ONLY": "1", "WITH_MODELS": "1"},
)
ALL = (OPERATOR, TRAINER)


def build_images(images: tuple[Image, ...] = ALL) -> None:
    """Builds the images; dependencies come from the storage while their requirements stay the same."""
    distributions = tuple(sorted({name for image in images for name in image.distributions}))
    with buildah.sole_use():
        buildah.ensure_base()
        context = prepare_context(buildah.images_root() / "context", distributions)
        for image in images:
            dockerfile = REPOSITORY / image.folder / "Dockerfile"
            buildah.build(image.reference, dockerfile=dockerfile, context=context, arguments=image.arguments)
            logger.info("image built", extra={"image": image.reference})


def load_images(containerd: Containerd, references: tuple[str, ...]) -> None:
    """Imports what containerd does not have yet; of an image it has in part, only the new layers.

    Raises:
        ClusterError: an image was not built, or was refused.
    """
    storage = buildah.storage()
    present = containerd.images()
    for reference in references:
        image = storage.image(buildah.BASE if reference == PYTHON_IMAGE else reference)
        if reference in present and _config_digest(containerd, present[reference]) == image.config_digest:
            continue
        known = containerd.known_blobs()
        wanted = {digest: size for digest, size in image.layers.items() if digest not in known}
        with containerd.held(reference if reference in present else None):
            containerd.import_stream(
                partial(_write_archive, image=image, reference=reference, storage=storage, wanted=wanted)
            )
        logger.info("image imported", extra={"image": reference})
    containerd.remove_replaced_images()


def build_and_load(images: tuple[Image, ...] = ALL) -> None:
    """Builds the images and imports them: by the running node's containerd, or else by one started for this."""
    build_images(images)
    references = (PYTHON_IMAGE, *(image.reference for image in images))
    directory = noted_directory()
    if is_taken() and directory:
        load_images(Containerd(directory / "containerd", Processes(directory, die_with_parent=False)), references)
        return
    claim = Claim.take()
    remove_last_node()
    with tempfile.TemporaryDirectory(prefix="sro-") as scratch:
        containerd = Containerd(Path(scratch) / "containerd", Processes(Path(scratch), die_with_parent=True))
        try:
            containerd.start()
            load_images(containerd, references)
        finally:
            containerd.stop()
    claim.release()


def _config_digest(containerd: Containerd, manifest_digest: str) -> str:
    manifest = json.loads(containerd.ctr("content", "get", manifest_digest))
    return str(manifest.get("config", {}).get("digest", ""))


def _write_archive(
    stream: IO[bytes], *, image: StoredImage, reference: str, storage: Storage, wanted: Mapping[str, int]
) -> None:
    """Writes an OCI layout as tar, under the name that pods use, with the wanted layers (digest, size in bytes) only."""
    manifest_digest = f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": json.loads(image.manifest)["mediaType"],
                "digest": manifest_digest,
                "size": len(image.manifest),
                "annotations": {"io.containerd.image.name": reference},
            }
        ],
    }
    small = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
        _blob(manifest_digest): image.manifest,
        _blob(image.config_digest): image.config,
    }
    for name, content in small.items():
        _write_entry(stream, name, len(content), [content])
    for digest, size in wanted.items():
        _write_entry(stream, _blob(digest), size, storage.layer(digest))
    stream.write(tarfile.NUL * tarfile.BLOCKSIZE * 2)


def _write_entry(stream: IO[bytes], name: str, size: int, pieces: Iterable[bytes]) -> None:
    """Writes one tar entry whose content comes in pieces, which :mod:`tarfile` has no call for."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    stream.write(entry.tobuf())
    for piece in pieces:
        stream.write(piece)
    stream.write(tarfile.NUL * (-size % tarfile.BLOCKSIZE))


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
