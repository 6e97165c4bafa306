"""Source URIs made into local paths."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sro_api.sources import Roots
from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.sources_io import resolve, resolve_model


def roots(folder: Path) -> Roots:
    return Roots(inputs=folder / "in", outputs=folder / "out", claims=folder / "claims")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on loopback: its address and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:data/a.txt", "in/data/a.txt"),
        ("pvc://my-claim/data/a.txt", "claims/my-claim/data/a.txt"),
    ],
)
def test_a_relative_or_claim_uri_starts_at_its_root(tmp_path: Path, uri: str, path: str) -> None:
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    target.touch()
    assert resolve(uri, roots(tmp_path)) == target


def test_an_absolute_file_ignores_the_roots(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert resolve(f"file://{tmp_path}/a.txt", roots(tmp_path / "elsewhere")) == tmp_path / "a.txt"


def test_the_files_of_an_installed_package_resolve(tmp_path: Path) -> None:
    assert resolve("package://pytest/pytest/__init__.py", roots(tmp_path)).name == "__init__.py"


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("file:none.txt", DataError, "spec.data.toxic: 'file:none.txt' is not there: no such file or folder as "),
        ("package://no-such-dist/x/y", DataError, "needs the package no-such-dist, which is not installed"),
        ("package://pytest/../../etc/passwd", ConfigurationError, "must not leave its package"),
        ("ftp://x/y", ConfigurationError, "is no source: use hf://"),
    ],
)
def test_what_is_not_there_is_said_with_the_field(
    tmp_path: Path, uri: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        resolve(uri, roots(tmp_path), field="spec.data.toxic")
    assert str(caught.value).startswith("spec.data.toxic: ")
    assert message in str(caught.value)


def test_a_remote_file_is_fetched_once(tmp_path: Path, served: tuple[str, Path]) -> None:
    address, folder = served
    (folder / "a.txt").write_text("first")
    first = resolve(f"{address}/a.txt", roots(tmp_path))
    (folder / "a.txt").write_text("second")
    assert resolve(f"{address}/a.txt", roots(tmp_path)) == first
    assert first.read_text() == "first"
    assert [path.name for path in first.parent.iterdir()] == ["a.txt"]


def test_a_remote_file_that_is_not_there_is_an_error_of_the_data(tmp_path: Path, served: tuple[str, Path]) -> None:
    with pytest.raises(DataError, match="is not there"):
        resolve(f"{served[0]}/none.txt", roots(tmp_path))


def test_a_server_that_does_not_answer_may_be_tried_again(tmp_path: Path, served: tuple[str, Path]) -> None:
    with pytest.raises(ConnectionError, match="could not be fetched"):
        resolve("http://127.0.0.1:1/a.txt", roots(tmp_path))


def test_a_file_system_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read here"):
        resolve("oci://bucket/a.txt", roots(tmp_path))


def test_a_model_folder_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "in" / "m").mkdir(parents=True)
    (tmp_path / "in" / "m" / "config.json").touch()
    (tmp_path / "in" / "m" / "x.gguf").touch()
    found = resolve_model("file:m", roots(tmp_path))
    assert (found.folder, found.gguf_file) == (tmp_path / "in" / "m", None)


@pytest.mark.parametrize("uri", ["file:m/x.gguf", "file:m"])
def test_a_gguf_file_is_found_by_its_name_or_its_folder(tmp_path: Path, uri: str) -> None:
    (tmp_path / "in" / "m").mkdir(parents=True)
    (tmp_path / "in" / "m" / "x.gguf").touch()
    found = resolve_model(uri, roots(tmp_path))
    assert (found.folder, found.gguf_file) == (tmp_path / "in" / "m", "x.gguf")


@pytest.mark.parametrize(
    ("files", "uri", "message"),
    [
        ([], "file:m", "holds no config.json and no .gguf file"),
        (["a.gguf", "b.gguf"], "file:m", "holds 2 .gguf files"),
        (["a.bin"], "file:m/a.bin", "is a file; a model is a transformers folder or a .gguf file"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, files: list[str], uri: str, message: str) -> None:
    (tmp_path / "in" / "m").mkdir(parents=True)
    for name in files:
        (tmp_path / "in" / "m" / name).touch()
    with pytest.raises(DataError, match=message):
        resolve_model(uri, roots(tmp_path))
