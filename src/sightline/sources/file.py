"""A single file that contains or lists images: on disk, or at a URL."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Protocol

from sightline.core.errors import UserError
from sightline.sources import content, remote
from sightline.sources.content import NO_MEMORY, ContentMemory


class SourceFile(Protocol):
    """A file that can be opened several times; `name` is for messages and contains no credentials."""

    name: str

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Opens it for reading, as a seekable stream.

        Raises:
            UserError: If it cannot be opened.
        """
        ...

    def size(self) -> int:
        """Returns its size in bytes."""
        ...

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        """Returns its content's digest or, for a remote file, what the service reports about its content."""
        ...


class LocalFile:
    """A file on disk.

    Args:
        path: The file.
        knob: The setting with its path, for messages.
    """

    def __init__(self, path: Path, knob: str = "ingest.path") -> None:
        self.name = str(path)
        self._path = path
        self._knob = knob

    def open(self) -> IO[bytes]:
        try:
            return self._path.open("rb")
        except IsADirectoryError:
            remedy = "; set ingest.source=folder to read it" if self._knob == "ingest.path" else ""
            raise UserError(f"{self._knob}: {self.name} is a folder{remedy}") from None
        except OSError as error:
            remedy = content.how_to_get(self._path)
            raise UserError(
                f"{self._knob}: cannot read {self.name}: {error.strerror}" + (remedy and f"; {remedy}")
            ) from None

    def size(self) -> int:
        with self.open():
            return self._path.stat().st_size

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        if content.is_here(self._path):
            self.open().close()  # raises the reason why it cannot be read
        return content.fingerprint(self._path, memory)


class RemoteFile:
    """A file at a URL that fsspec supports; to be read it is downloaded to the temporary folder, once.

    A zip is read from its end, and any archive is read more than once: not every server supports the former, and
    neither is fast over a network.
    """

    def __init__(self, url: str) -> None:
        self.name = remote.location(url)
        self._url = url
        self._copy: IO[bytes] | None = None

    def open(self) -> AbstractContextManager[IO[bytes]]:
        if self._copy is None:
            copy = tempfile.NamedTemporaryFile(prefix="sightline-")  # noqa: SIM115 - lives as long as this object
            with remote.user_errors(self._url):
                fs, path = remote.filesystem(self._url, seconds=None)
                fs.get_file(path, copy.name)
            self._copy = copy
        return Path(self._copy.name).open("rb")

    def size(self) -> int:
        with remote.user_errors(self._url):
            fs, path = remote.filesystem(self._url)
            return int(fs.info(path).get("size") or 0)

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:  # noqa: ARG002 - it is not on disk
        with remote.user_errors(self._url):
            fs, path = remote.filesystem(self._url)
            return remote.state(fs.info(path))


def source_file(path: str | None, url: str | None) -> SourceFile:
    """Returns the file at a path or, if that is None, at a URL."""
    if path is not None:
        return LocalFile(Path(path))
    if url is None:
        raise UserError("ingest.path: has no value; set ingest.path (or ingest.url)")
    return RemoteFile(url)
