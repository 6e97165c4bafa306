"""The images that pods run: built by buildah, handed to the node's containerd layer by layer."""

import io
import json
import logging
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sro_cluster import buildah
from sro_cluster.claim import Claim, is_taken, noted_directory
from sro_cluster.client import Manifest
from sro_cluster.containerd import Containerd
from sro_cluster.locations import REPOSITORY
from sro_cluster.node import remove_last_node
from sro_cluster.processes import Processes
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
    """Imports what containerd does not have yet; of an image it has in part, only the new layers."""
    present = containerd.images()
    for reference in references:
        source = buildah.BASE if reference == PYTHON_IMAGE else reference
        identity = buildah.identity(source)
        if reference in present and _config_digest(containerd, present[reference]) == identity:
            continue
        layout = buildah.export(source)
        _import(containerd, layout, reference)
        logger.info("image imported", extra={"image": reference})


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


def _import(containerd: Containerd, layout: Path, reference: str) -> None:
    known = containerd.known_blobs()
    containerd.import_stream(lambda stream: _write_thin_archive(stream, layout, reference, known))


def _write_thin_archive(stream: IO[bytes], layout: Path, reference: str, known: set[str]) -> None:
    """Writes an OCI layout as tar, under the name that pods use, without the blobs that the receiver knows."""
    index = json.loads((layout / "index.json").read_text())
    index["manifests"] = [
        {**entry, "annotations": {"io.containerd.image.name": reference}} for entry in index["manifests"]
    ]
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for name, content in (("oci-layout", (layout / "oci-layout").read_bytes()), ("index.json", _encoded(index))):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for digest in _blobs_of(layout, index):
            if digest not in known:
                path = f"blobs/{digest.replace(':', '/')}"
                archive.add(layout / path, arcname=path)


def _blobs_of(layout: Path, index: Manifest) -> list[str]:
    digests: list[str] = []
    for entry in index["manifests"]:
        manifest = json.loads((layout / "blobs" / entry["digest"].replace(":", "/")).read_text())
        digests += [entry["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    return list(dict.fromkeys(digests))


def _encoded(document: Manifest) -> bytes:
    return json.dumps(document).encode()
