"""Files at a URL, read through fsspec. Credentials come from the environment, as each service's own tools read them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sightline.core.credentials import mask
from sightline.core.errors import UserError, how_to_install
from sightline.core.rejection import RejectionError

# Keys in fsspec's file info that change with a file's content, or with its time; their names differ by service.
_CONTENT = ("ETag", "etag", "md5Hash", "Content-MD5")
_TIME = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime")

_EXTRAS = {"s3": "remote", "s3a": "remote", "http": "remote", "https": "remote", "gs": "gcs", "gcs": "gcs"}

THREADS = 16
"""Concurrent requests, because each one waits for the network."""


class UrlNotFoundError(UserError):
    """Nothing exists at a URL."""


def location(url: str) -> str:
    """Returns a printable URL: without the parts before an `@` and after a `?`, which may be credentials.

    Except on the web, a `?` may belong to a pattern or a file's name.
    """
    place, mark, rest = url.partition("?")
    kept = mark + rest if not place.startswith(("http://", "https://")) and "=" not in rest else ""
    return mask(place) + kept


def filesystem(url: str) -> tuple[Any, str]:
    """Returns fsspec's file system for a URL, and the path within it.

    Raises:
        UserError: If the package for this kind of URL is not installed.
    """
    scheme = url.partition("://")[0]
    try:
        import fsspec.core

        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = how_to_install(extra) if extra else "install the package that it names"
        raise UserError(f"{scheme}:// needs a package that is not installed: {remedy} ({error})") from None
    return fs, path


@contextlib.contextmanager
def user_errors(url: str) -> Iterator[None]:
    """Turns a service client's exceptions into one line without credentials. The block must only call fsspec."""
    try:
        yield
    except (UserError, RejectionError):
        raise
    except FileNotFoundError:
        raise UrlNotFoundError(f"nothing found at {location(url)}") from None
    except PermissionError:
        raise UserError(f"no access to {location(url)}; set its credentials in the environment") from None
    except Exception as error:  # clients raise their own: botocore, aiohttp, google, ...
        kind = type(error).__name__
        if type(error).__module__ == "builtins" and not isinstance(error, OSError | ValueError):
            raise  # a bug in this program
        remedy = "check the address, the network, and the credentials in the environment"
        raise UserError(f"cannot read {location(url)} ({kind}); {remedy}") from None


def state(info: dict[str, Any]) -> dict[str, Any]:
    """Returns a remote file's size and the values that change with its content or, failing that, its time."""
    by_content = [key for key in _CONTENT if info.get(key)]
    keys = by_content or [key for key in _TIME if info.get(key)]
    changes = {key.lower(): str(info[key]).strip('"') for key in keys}
    return {"bytes": info.get("size"), **changes}
