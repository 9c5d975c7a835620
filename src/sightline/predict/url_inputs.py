"""Images behind a URL, by fsspec: a file, an archive, or all below a folder. Needs the extra `remote`."""

from __future__ import annotations

import functools
import glob
from collections.abc import Iterator
from typing import Any

from sightline.core.errors import UserError
from sightline.core.lookahead import map_ahead
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import is_litter
from sightline.predict import archive_inputs
from sightline.predict.inputs import Input, failed, is_archive
from sightline.sources import remote
from sightline.sources.file import RemoteFile


def url_images(url: str, max_bytes: int) -> Iterator[Input]:
    """Yields the images at a URL, some of which are downloaded in advance.

    A URL that ends with `/`, or that the service reports as a folder, expands to the files in it, and a pattern to the
    files that it matches (but not for web URLs, in which `?` and `*` are ordinary characters).

    Raises:
        UserError: If the package for this kind of URL is not installed.
    """
    name = remote.location(url)
    fs, path = remote.filesystem(url)
    try:
        with remote.user_errors(url):
            if is_archive(path.partition("?")[0]):
                file = RemoteFile(url)
                with file.open() as copy:
                    yield from archive_inputs.members(str(copy.name), name, max_bytes)
                return
            listed = _listing(fs, path, url)
            for info, data in map_ahead(functools.partial(_fetch, fs, max_bytes=max_bytes), listed, remote.THREADS):
                label = name if info["name"] == path else _name(url, str(info["name"]))
                if isinstance(data, RejectionError):
                    yield failed(label, data.reason, data.detail)
                else:
                    yield Input(label, functools.partial(bytes, data))
    except UserError as error:
        missing = isinstance(error, remote.UrlNotFoundError)
        yield failed(name, RejectionReason.MISSING if missing else RejectionReason.UNREADABLE, str(error))


def _name(url: str, file: str) -> str:
    """Returns a listed file's human-readable URL."""
    if "://" in file:
        return remote.location(file)
    scheme = url.partition("://")[0]
    return f"{scheme}://{file.lstrip('/') if scheme != 'file' else file}"


def _listing(fs: Any, path: str, url: str) -> list[dict[str, Any]]:
    web = remote.is_web(url)
    if glob.has_magic(path) and not web:
        matches = fs.glob(path, detail=True)
        listed = [info for info in matches.values() if info.get("type") != "directory"]
    elif path.endswith("/") or url.endswith("/") or (not web and fs.info(path).get("type") == "directory"):
        root = path.rstrip("/") + "/"
        below = fs.find(root, detail=True)
        listed = [info for name, info in below.items() if not is_litter(name.removeprefix(root)) and name != root]
    else:
        return [{"name": path, "size": None}]
    if not listed:
        raise FileNotFoundError
    return sorted(listed, key=lambda info: str(info["name"]))


def _fetch(fs: Any, info: dict[str, Any], max_bytes: int) -> tuple[dict[str, Any], bytes | RejectionError]:
    """Returns a file's content or its rejection; reads at most `max_bytes`, even if the service reports less."""
    size = info.get("size")
    if size is not None and size > max_bytes:
        return info, RejectionError(
            RejectionReason.TOO_MANY_BYTES, f"{size:,} bytes, at most {max_bytes:,} are allowed"
        )
    try:
        with remote.user_errors(str(info["name"])):
            return info, remote.read_at_most(fs, info["name"], max_bytes)
    except RejectionError as error:
        return info, error
    except remote.UrlNotFoundError:
        return info, RejectionError(RejectionReason.MISSING, "there is no such file")
    except UserError as error:  # of this file alone: the others are read as usual
        return info, RejectionError(RejectionReason.UNREADABLE, str(error))
