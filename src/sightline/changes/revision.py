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
        which = "dvc repro" if revision.commit is None else f"dvc fetch, or dvc repro in a worktree of {revision.name}"
        super().__init__(f"{revision.name} has no {', '.join(paths)} here or in a remote: {which}")
        self.paths = paths


class Revision:
    """Files of the project as they are, or as they were at a commit.

    Args:
        commit: What git takes for a commit, as `HEAD~1` or a tag; None is the working folder.

    Raises:
        UserError: If there is no such commit, or no project of DVC.
    """

    def __init__(self, commit: str | None) -> None:
        self.commit = commit
        self.name = WORKING_FOLDER if commit is None else commit
        self._files: Any = None
        if commit is None:
            return
        from dvc.api import DVCFileSystem
        from dvc.exceptions import DvcException
        from dvc.scm import SCMError

        try:
            self._files = DVCFileSystem(url=".", rev=commit)
            self._files.repo.get_rev()  # otherwise it looks when the first file is read
        except (DvcException, SCMError) as error:
            raise UserError(f"{commit}: {' '.join(str(error).split())}") from None

    def open(self, path: str) -> BinaryIO | None:
        """Opens a file; None where this state has none, or it can neither be found here nor in a remote."""
        try:
            if self._files is None:
                return Path(path).open("rb")
            # Whole: what DVC streams from a remote cannot always be searched, and Parquet begins at its end.
            return io.BytesIO(self._files.read_bytes(path))
        except FileNotFoundError:
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
        """Yields the paths of a folder's files with a suffix, sorted."""
        if self._files is None:
            yield from (path.as_posix() for path in sorted(Path(folder).glob(f"*{suffix}")))
        else:
            yield from sorted(path for path in self._files.ls(folder, detail=False) if path.endswith(suffix))
