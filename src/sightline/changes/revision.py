"""A state of the project: the working folder, or a commit, with its data from DVC's cache or remote."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sightline.core.errors import UserError

WORKING_FOLDER = "the working folder"


class UnavailableError(UserError):
    """A file that a state of the project does not have, or that is neither in DVC's cache nor in a remote."""

    def __init__(self, revision: Revision, *paths: str) -> None:
        remedy = "dvc repro" if revision.commit is None else f"dvc fetch, or dvc repro in a worktree of {revision.name}"
        super().__init__(f"{revision.name} has no {', '.join(paths)} here or in a remote: {remedy}")
        self.paths = paths


class Revision:
    """Files of the project as they are now, or as they were at a commit.

    Args:
        commit: A commit that git understands, `HEAD~1` or a tag; None for the working folder.

    Raises:
        UserError: If there is no such commit, or it is not a DVC project.
    """

    def __init__(self, commit: str | None) -> None:
        self.commit = commit
        self.name = WORKING_FOLDER if commit is None else commit
        self._opened: Any = None
        if commit is not None:
            self._recorded()  # fails now rather than when the first file is read

    def _recorded(self) -> Any:
        """Returns the files recorded by git and DVC; for the working folder, including missing ones in its dvc.lock."""
        from dvc.api import DVCFileSystem
        from dvc.exceptions import DvcException
        from dvc.scm import SCMError

        if self._opened is None:
            try:
                self._opened = DVCFileSystem(url=".", rev=self.commit)
                self._opened.repo.get_rev()
            except (DvcException, SCMError) as error:
                raise UserError(f"{self.name}: {' '.join(str(error).split())}") from None
        return self._opened

    def open(self, path: str) -> BinaryIO | None:
        """Opens a file; None if this state does not have it, or it is neither here nor in a remote."""
        if self.commit is None and Path(path).is_file():
            return Path(path).open("rb")
        from dvc_data.index.index import DataIndexDirError

        try:
            # Read completely: a stream from a remote may not support seeking, and Parquet is read from its end.
            return io.BytesIO(self._recorded().read_bytes(path))
        except (FileNotFoundError, DataIndexDirError):
            return None

    def read(self, path: str) -> bytes | None:
        """Returns a file's content; None as for `open`."""
        stream = self.open(path)
        if stream is None:
            return None
        with stream:
            return stream.read()

    def require(self, path: str) -> bytes:
        """Returns a file's content.

        Raises:
            UnavailableError: If it is not available.
        """
        content = self.read(path)
        if content is None:
            raise UnavailableError(self, path)
        return content

    def names(self, folder: str, suffix: str) -> Iterator[str]:
        """Yields the paths of a folder's files with a suffix, sorted; none if there is no such folder."""
        from dvc_data.index.index import DataIndexDirError

        try:
            yield from sorted(path for path in self._recorded().ls(folder, detail=False) if path.endswith(suffix))
        except (FileNotFoundError, DataIndexDirError):
            return
