"""A state of the project: the working folder, or what a commit recorded, its data from DVC's cache or remote."""

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
    """Files of the project as they are, or as they were at a commit.

    Args:
        commit: A commit as git takes it, `HEAD~1` or a tag; None is the working folder.

    Raises:
        UserError: If there is no such commit, or no project of DVC.
    """

    def __init__(self, commit: str | None) -> None:
        self.commit = commit
        self.name = WORKING_FOLDER if commit is None else commit
        self._opened: Any = None
        if commit is not None:
            self._recorded()  # otherwise it would be found out at the first file

    def _recorded(self) -> Any:
        """Returns what git and DVC have recorded: of the working folder, by its dvc.lock, what is not in it as well."""
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
        """Opens a file; None where this state has none, or it can neither be found here nor in a remote."""
        if self.commit is None and Path(path).is_file():
            return Path(path).open("rb")
        from dvc_data.index.index import DataIndexDirError

        try:
            # Whole: what DVC streams from a remote cannot always be searched, and Parquet begins at its end.
            return io.BytesIO(self._recorded().read_bytes(path))
        except (FileNotFoundError, DataIndexDirError):
            return None

    def read(self, path: str) -> bytes | None:
        """Returns a file's content; None as `open` does."""
        stream = self.open(path)
        if stream is None:
            return None
        with stream:
            return stream.read()

    def require(self, path: str) -> bytes:
        """Returns a file's content.

        Raises:
            UnavailableError: If it cannot be had.
        """
        content = self.read(path)
        if content is None:
            raise UnavailableError(self, path)
        return content

    def names(self, folder: str, suffix: str) -> Iterator[str]:
        """Yields the paths of a folder's files with a suffix, sorted; none where there is no such folder."""
        from dvc_data.index.index import DataIndexDirError

        try:
            yield from sorted(path for path in self._recorded().ls(folder, detail=False) if path.endswith(suffix))
        except (FileNotFoundError, DataIndexDirError):
            return
